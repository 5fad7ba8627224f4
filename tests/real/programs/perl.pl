# Mail::IMAPClient, Net::POP3 and Net::SMTP with Authen::SASL, as old ticket systems use them.
use strict;
use warnings;
use Authen::SASL;
use Mail::IMAPClient;
use Net::POP3;
use Net::SMTP;

my ($user, $password, $imap, $pop3, $smtp, $message, $folder) = @ARGV;

sub keep {
    my ($name, $text) = @_;
    open my $file, '>:raw', "$folder/$name" or die $!;
    print $file $text;
    close $file or die $!;
}

my @mechanisms = split ' ', $ENV{MECHANISMS};
my $challenged = grep { $_ eq 'CRAM-MD5' } @mechanisms;

my $client = Mail::IMAPClient->new(
    Server => '127.0.0.1', Port => $imap, User => $user, Password => $password, Timeout => 60, Uid => 1,
    $challenged ? (Authmechanism => 'CRAM-MD5') : (),
) or die "IMAP: $@";
$client->select('INBOX') or die $client->LastError;
keep("imap-$_", $client->message_string($_)) for $client->messages;
$client->logout or die $client->LastError;

my $pop = Net::POP3->new('127.0.0.1', Port => $pop3, Timeout => 60) or die "POP3: $!";
my $count = ($challenged ? $pop->apop($user, $password) : $pop->login($user, $password)) or die 'POP3: ' . $pop->message;
keep("pop3-$_", join '', @{$pop->get($_)}) for 1 .. $count;
$pop->quit;

open my $file, '<:raw', $message or die $!;
my $text = do { local $/; <$file> };
for my $mechanism (@mechanisms) {
    my $sender = Net::SMTP->new('127.0.0.1', Port => $smtp, Timeout => 60) or die "SMTP: $@";
    my $sasl = Authen::SASL->new(mechanism => $mechanism, callback => {user => $user, pass => $password});
    $sender->auth($sasl) or die "$mechanism: " . $sender->message;
    $sender->mail($user) && $sender->to($user) && $sender->data($text) or die 'SMTP: ' . $sender->message;
    $sender->quit;
}
