"""Python's smtplib as a monitoring script uses it that cannot log in: two messages in one session."""

import smtplib
import sys

port, to, message_file = sys.argv[1:]
with open(message_file, "rb") as file:
    message = file.read()

with smtplib.SMTP("127.0.0.1", int(port), timeout=60) as smtp:
    for sender in ["root@localhost", "monitor@localhost"]:
        smtp.sendmail(sender, [to], message)
    assert not smtp.has_extn("auth"), smtp.esmtp_features
print("done")
