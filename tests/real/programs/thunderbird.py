"""Drives Thunderbird over its Marionette port; `thunderbird.js` beside this file is what it is told to do.

It runs headless in a profile of its own, with the accounts as preferences, as an administrator would roll them out.
"""

import base64
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

user, password, imap, pop3, smtp, message, folder, host, tls, ca_file, password_is = sys.argv[1:]
PATIENCE = 100
# nsMsgSocketType
SOCKET_TYPE = {"plain": 0, "starttls": 2, "implicit": 3}[tls]
# nsMsgAuthMethod
PASSWORD = {"cleartext": 3, "encrypted": 4}[password_is]


def server(name, kind, port):
    return {
        f"mail.server.{name}.{key}": value
        for key, value in {
            "type": kind, "hostname": host, "port": int(port), "userName": user, "name": kind,
            "authMethod": PASSWORD, "socketType": SOCKET_TYPE, "login_at_startup": False, "leave_on_server": True,
            "using_subscription": False,
        }.items()
    }


PREFERENCES = {
    "mail.accountmanager.accounts": "account1,account2",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.account.account1.server": "server1",
    "mail.account.account1.identities": "id1",
    "mail.account.account2.server": "server2",
    "mail.identity.id1.useremail": user,
    "mail.identity.id1.fullName": "Anna",
    "mail.identity.id1.valid": True,
    "mail.identity.id1.smtpServer": "smtp1",
    "mail.identity.id1.doFcc": True,
    "mail.identity.id1.fcc_folder": f"imap://{quote(user)}@{host}/Sent",
    **server("server1", "imap", imap),
    **server("server2", "pop3", pop3),
    "mail.smtpservers": "smtp1",
    "mail.smtp.defaultserver": "smtp1",
    "mail.smtpserver.smtp1.hostname": host,
    "mail.smtpserver.smtp1.port": int(smtp),
    "mail.smtpserver.smtp1.username": user,
    "mail.smtpserver.smtp1.authMethod": PASSWORD,
    "mail.smtpserver.smtp1.try_ssl": SOCKET_TYPE,
    # Any port that is free, and nobody asked or called at the first start.
    "marionette.port": 0,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Marionette:
    """Each frame is its length, a colon and JSON; a command is [0, number, name, parameters]."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).makefile("rwb")
        self.read()

    def read(self):
        length = b""
        while (octet := self.stream.read(1)) != b":":
            assert octet, "Thunderbird is gone"
            length += octet
        return json.loads(self.stream.read(int(length)))

    def ask(self, name, **parameters):
        frame = json.dumps([0, 1, name, parameters]).encode()
        self.stream.write(b"%d:%s" % (len(frame), frame))
        self.stream.flush()
        _, _, error, result = self.read()
        assert error is None, json.dumps(error, indent=1)
        return result


def port_of(child, profile):
    file = profile / "MarionetteActivePort"
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text().strip()):
        assert child.poll() is None and time.monotonic() < deadline, "Thunderbird does not start"
        time.sleep(0.02)
    return int(file.read_text())


def as_it_came(kept):
    """Without the lines Thunderbird puts before a message for itself."""
    while kept.startswith((b"X-Mozilla-", b"X-Account-Key:", b"X-UIDL:")):
        kept = kept.split(b"\n", 1)[1]
    return kept


profile = Path(folder).parent / "thunderbird"
profile.mkdir()
(profile / "user.js").write_text(
    "".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
)
arguments = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(profile)]
with open(profile.with_suffix(".log"), "wb") as log:
    child = subprocess.Popen(["thunderbird", *arguments], stdout=log, stderr=log)
try:
    marionette = Marionette(port_of(child, profile))
    marionette.ask("WebDriver:NewSession", capabilities={})
    marionette.ask("Marionette:SetContext", value="chrome")
    marionette.ask("WebDriver:SetTimeouts", script=PATIENCE * 1000)
    body = Path(message).read_bytes().split(b"\r\n\r\n", 1)[1].decode()
    script = Path(__file__).with_suffix(".js").read_text()
    certificate = "".join(Path(ca_file).read_text().splitlines()[1:-1])
    result = marionette.ask("WebDriver:ExecuteAsyncScript", script=script, args=[user, password, host, body, certificate])
    assert "error" not in result["value"], result["value"]["error"]
    for name, kept in result["value"].items():
        Path(folder, name).write_bytes(as_it_came(base64.b64decode(kept)))
    marionette.ask("Marionette:Quit", flags=["eForceQuit"])
    child.wait(PATIENCE)
finally:
    child.kill()
