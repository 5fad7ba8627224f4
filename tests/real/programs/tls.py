"""Python's imaplib, poplib and smtplib over TLS that is verified as strictly as Python can."""

import imaplib
import poplib
import smtplib
import ssl
import sys

mode, ca_file, user, password, imap_port, pop3_port, smtp_port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file)
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
host = "localhost"

if mode == "implicit":
    imap = imaplib.IMAP4_SSL(host, int(imap_port), ssl_context=context, timeout=60)
    pop3 = poplib.POP3_SSL(host, int(pop3_port), context=context, timeout=60)
    smtp = smtplib.SMTP_SSL(host, int(smtp_port), context=context, timeout=60)
else:
    imap = imaplib.IMAP4(host, int(imap_port), timeout=60)
    imap.starttls(ssl_context=context)
    pop3 = poplib.POP3(host, int(pop3_port), timeout=60)
    pop3.stls(context=context)
    smtp = smtplib.SMTP(host, int(smtp_port), timeout=60)
    smtp.starttls(context=context)

imap.login(user, password)
assert imap.select("INBOX")[0] == "OK"
imap.logout()
pop3.user(user)
pop3.pass_(password)
assert pop3.stat()[0] == 1
pop3.quit()
smtp.login(user, password)
assert smtp.noop()[0] == 250
smtp.quit()

# By address, as some programs are set up.
with imaplib.IMAP4_SSL("127.0.0.1", int(imap_port), ssl_context=context, timeout=60) if mode == "implicit" else \
        imaplib.IMAP4("127.0.0.1", int(imap_port), timeout=60) as imap:
    if mode == "starttls":
        imap.starttls(ssl_context=context)
print("done")
