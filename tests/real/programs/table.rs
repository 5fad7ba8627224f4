//! Which programs are run, and as what: the tests are made from this list, and `docs/clients.md` has a row for each
//! client in it, which `tests/clients.rs` holds.
//!
//! `plain`: on plain ports, straight to the servers and through the proxy. `proxied`: through the proxy alone, because
//! what the servers themselves show does not suit the program. `challenged`: through the proxy with a local password that
//! can be recovered, so that it need not be said. `tls`: through the proxy with TLS on the client's leg,
//! from the first byte and by STARTTLS.

/// Gives the list to the macro named: the case, the client's name in the docs, the profile of the listeners.
macro_rules! clients {
    ($list:ident) => {
        $list! {
            plain {
                console::mutt_sends_and_reads, "mutt", "modern";
                console::mutt_fetches_by_pop3, "mutt", "modern";
                console::neomutt_sends_and_reads, "NeoMutt", "modern";
                console::neomutt_fetches_by_pop3, "NeoMutt", "modern";
                console::s_nail_sends_and_fetches, "S-nail", "modern";
                fetchers::mbsync_carries_changes_both_ways, "mbsync", "modern";
                fetchers::offlineimap_carries_changes_both_ways, "OfflineIMAP", "modern";
                fetchers::fetchmail_fetches_by_pop3_and_imap, "fetchmail", "modern";
                fetchers::fetchmail_keeps_and_fetches_nothing_twice, "fetchmail", "modern";
                fetchers::getmail_fetches_by_pop3_and_imap, "getmail6", "modern";
                fetchers::mpop_fetches_nothing_twice, "mpop", "modern";
                senders::curl_lists_fetches_and_sends, "curl", "modern";
                senders::curl_logs_in_with_each_mechanism, "curl", "modern";
                senders::msmtp_sends_with_each_mechanism, "msmtp", "modern";
                senders::swaks_sends_with_each_mechanism, "swaks", "modern";
                libraries::the_three_python_libraries_send_and_fetch, "Python imaplib, poplib, smtplib", "modern";
                libraries::perl_sends_and_fetches, "Perl Mail::IMAPClient, Net::POP3, Net::SMTP", "modern";
                libraries::java_sends_and_fetches, "Jakarta Mail (JavaMail)", "modern";
                libraries::ruby_sends_and_fetches, "Ruby net/imap, net/pop, net/smtp", "modern";
                libraries::node_sends_and_fetches, "Node.js ImapFlow, Nodemailer", "modern";
                libraries::go_sends, "Go net/smtp", "modern";
                sylpheed::sylpheed_sends_and_fetches, "Sylpheed", "modern";
                sylpheed::claws_sends_and_fetches, "Claws Mail", "modern";
                thunderbird::thunderbird_sends_and_fetches, "Thunderbird", "modern";
            }
            proxied {
                console::alpine_reads_by_imap, "Alpine", "cclient";
                console::alpine_reads_by_pop3, "Alpine", "cclient";
                console::alpine_sends, "Alpine", "cclient";
                libraries::php_sends_and_fetches, "PHP imap, PHPMailer", "cclient";
            }
            challenged {
                challenges::curl_answers_challenges, "curl", "modern";
                challenges::fetchmail_answers_challenges, "fetchmail", "modern";
                challenges::go_answers_challenges, "Go net/smtp", "modern";
                challenges::mpop_answers_challenges, "mpop", "modern";
                challenges::msmtp_answers_challenges, "msmtp", "modern";
                challenges::perl_answers_challenges, "Perl Mail::IMAPClient, Net::POP3, Net::SMTP", "modern";
                challenges::python_answers_challenges, "Python imaplib, poplib, smtplib", "modern";
                challenges::ruby_answers_challenges, "Ruby net/imap, net/pop, net/smtp", "modern";
                challenges::swaks_answers_challenges, "swaks", "modern";
                sylpheed::sylpheed_answers_challenges, "Sylpheed", "modern";
                sylpheed::claws_answers_challenges, "Claws Mail", "modern";
                thunderbird::thunderbird_answers_challenges, "Thunderbird", "modern";
            }
            tls {
                console::mutt_speaks_tls, "mutt", "modern";
                fetchers::fetchmail_speaks_tls, "fetchmail", "modern";
                fetchers::mpop_speaks_tls, "mpop", "modern";
                senders::curl_speaks_tls, "curl", "modern";
                senders::msmtp_speaks_tls, "msmtp", "modern";
                thunderbird::thunderbird_speaks_tls, "Thunderbird", "modern";
            }
        }
    };
}
