"""Python's imaplib, poplib and smtplib as a cron job uses them: plain, with a name and a password."""

import imaplib
import poplib
import smtplib
import sys

user, password, message_file, imap_port, pop3_port, smtp_port = sys.argv[1:]
with open(message_file, "rb") as file:
    message = file.read()

with smtplib.SMTP("127.0.0.1", int(smtp_port), timeout=60) as smtp:
    smtp.login(user, password)
    smtp.sendmail(user, [user], message, mail_options=["BODY=8BITMIME"])

with imaplib.IMAP4("127.0.0.1", int(imap_port), timeout=60) as imap:
    imap.login(user, password)
    imap.select("INBOX")
    imap.append("INBOX", r"(\Seen)", None, message)
    _, found = imap.search(None, "SEEN")
    number = found[0].split()[-1]
    _, fetched = imap.fetch(number, "(BODY.PEEK[])")
    assert fetched[0][1] == message, "imaplib: not what was appended"
    imap.store(number, "+FLAGS", r"\Flagged")
    imap.create("Gel&APY-scht")
    imap.copy(number, "Gel&APY-scht")
    kind, counted = imap.status("Gel&APY-scht", "(MESSAGES)")
    assert kind == "OK" and b"MESSAGES 1" in counted[0], counted

pop3 = poplib.POP3("127.0.0.1", int(pop3_port), timeout=60)
pop3.user(user)
pop3.pass_(password)
count, _ = pop3.stat()
bodies = [b"".join(line + b"\r\n" for line in pop3.retr(number + 1)[1]) for number in range(count)]
assert message in bodies, "poplib: not what was appended"
pop3.quit()
print("done")
