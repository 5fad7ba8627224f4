"""Python's imaplib, poplib and smtplib against the embedded provider, over TLS.

Arguments: the CA file, the three ports, user and password. Ends with 0 when everything is as it should be.
"""

import imaplib
import poplib
import smtplib
import ssl
import sys
from email import message_from_bytes, policy

CA, IMAP, POP3, SMTP, USER, PASSWORD = sys.argv[1:]
TLS = ssl.create_default_context(cafile=CA)
SENT = b"From: a@example.org\r\nSubject: from smtplib\r\n\r\n.dot\r\nGr\xc3\xbc\xc3\x9fe\r\n"


def equal(seen, wanted):
    if seen != wanted:
        raise SystemExit(f"seen {seen!r}, wanted {wanted!r}")


def imap():
    client = imaplib.IMAP4_SSL("localhost", int(IMAP), ssl_context=TLS)
    client.login(USER, PASSWORD)
    folders = [line.decode() for line in client.list()[1]]
    equal(any(r"\Drafts" in f and "Entw&APw-rfe" in f for f in folders), True)
    equal(client.select("INBOX")[0], "OK")
    numbers = client.search(None, "ALL")[1][0].split()
    raw = [client.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in numbers]
    equal(client.search(None, "SUBJECT", '"drawing"')[1], [b"2"])
    client.literal = "Grüße".encode()
    equal(client.search("UTF-8", "BODY")[1], [b"3"])
    structure = client.fetch("2", "(BODYSTRUCTURE ENVELOPE)")[1][0].decode()
    equal('"attachment" ("filename" "engine.png")' in structure, True)
    attached = client.fetch("2", "(BODY.PEEK[2])")[1][0][1]
    parts = message_from_bytes(raw[1], policy=policy.SMTP)
    equal(attached.strip(), parts.get_payload(1).get_payload().encode().strip())
    flags(client)
    equal(client.append("Trash", r"(\Seen)", None, SENT)[0], "OK")
    equal(client.copy("1", "Trash")[0], "OK")
    equal(client.status("Trash", "(MESSAGES UNSEEN)")[1], [b'"Trash" (MESSAGES 2 UNSEEN 0)'])
    equal(client.create("&AOk-t&AOk-/sub")[0], "OK")
    equal(client.rename("&AOk-t&AOk-/sub", "moved")[0], "OK")
    equal(client.delete("moved")[0], "OK")
    equal(client.select("Trash")[1], [b"2"])
    equal(client.store("1:2", "+FLAGS", r"(\Deleted)")[0], "OK")
    equal(client.expunge()[1], [b"1", b"1"])
    client.logout()
    return raw


def flags(client):
    equal(client.store("4", "+FLAGS", r"(\Flagged $Label1)")[1], [rb"4 (UID 4 FLAGS (\Flagged $Label1))"])
    equal(client.search(None, "KEYWORD", "$Label1")[1], [b"4"])
    equal(client.store("4", "FLAGS", "()")[1], [b"4 (UID 4 FLAGS ())"])


def pop3(wanted):
    client = poplib.POP3_SSL("localhost", int(POP3), context=TLS)
    client.user(USER)
    client.pass_(PASSWORD)
    count, octets = client.stat()
    equal((count, octets), (len(wanted), sum(map(len, wanted))))
    for number, raw in enumerate(wanted, 1):
        equal(b"\r\n".join(client.retr(number)[1]) + b"\r\n", raw)
    equal(len(set(client.uidl()[1])), count)
    client.top(1, 0)
    client.dele(count)
    client.quit()


def smtp():
    client = smtplib.SMTP_SSL("localhost", int(SMTP), context=TLS)
    client.login(USER, PASSWORD)
    client.sendmail("a@example.org", ["b@example.org"], SENT, ["BODY=8BITMIME"])
    client.quit()


before = imap()
smtp()
after = imap()
equal(after, before + [SENT])
pop3(after)
equal(imap(), before)
