"""Python's three libraries where the password is not said: CRAM-MD5, which smtplib takes by itself, and APOP."""

import imaplib
import poplib
import smtplib
import sys

user, password, imap_port, pop3_port, smtp_port, message_file, folder = sys.argv[1:]


def keep(name, message):
    with open(f"{folder}/{name}", "wb") as file:
        file.write(message)


with imaplib.IMAP4("127.0.0.1", int(imap_port), timeout=60) as imap:
    imap.login_cram_md5(user, password)
    imap.select("INBOX", readonly=True)
    _, found = imap.search(None, "ALL")
    for number in found[0].split():
        keep(f"imap-{number.decode()}", imap.fetch(number, "(BODY.PEEK[])")[1][0][1])

pop3 = poplib.POP3("127.0.0.1", int(pop3_port), timeout=60)
pop3.apop(user, password)
for number in range(1, pop3.stat()[0] + 1):
    keep(f"pop3-{number}", b"".join(line + b"\r\n" for line in pop3.retr(number)[1]))
pop3.quit()

with smtplib.SMTP("127.0.0.1", int(smtp_port), timeout=60) as smtp:
    smtp.ehlo()
    assert "CRAM-MD5" in smtp.esmtp_features["auth"], smtp.esmtp_features
    smtp.login(user, password)
    with open(message_file, "rb") as file:
        smtp.sendmail(user, [user], file.read(), mail_options=["BODY=8BITMIME"])
