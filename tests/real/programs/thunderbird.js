// Runs inside Thunderbird: saves the passwords, reads the INBOX by IMAP and by POP3, sends, and keeps a copy in Sent.
const [user, password, host, body, certificate, done] = arguments;
const { clearTimeout, setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

let step = "remembering passwords";
const PATIENCE = 80_000;

async function remember(kind) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(`${kind}://${host}`, null, `${kind}://${host}`, user, password, "", "");
  await Services.logins.addLoginAsync(login);
}

// Waits for the end of what `start` begins, which is told to a listener.
function finished(start) {
  const { promise, resolve, reject } = Promise.withResolvers();
  start({
    OnStartRunningUrl() {},
    OnStopRunningUrl(url, status) {
      Components.isSuccessCode(status) ? resolve() : reject(new Error(`${url?.spec}: ${status.toString(16)}`));
    },
  });
  return promise;
}

function source(folder, header) {
  const { promise, resolve, reject } = Promise.withResolvers();
  let text = "";
  const listener = {
    QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
    onStartRequest() {},
    onDataAvailable(request, stream, offset, count) {
      const binary = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
      binary.setInputStream(stream);
      text += binary.readBytes(count);
    },
    onStopRequest(request, status) {
      Components.isSuccessCode(status) ? resolve(btoa(text)) : reject(new Error(`reading: ${status.toString(16)}`));
    },
  };
  const uri = folder.getUriForMsg(header);
  MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "", false);
  return promise;
}

// By its name: its flags go and come while Thunderbird looks at the list of folders. That it looks at all, a look at the
// descendants brings about.
async function inbox(account) {
  for (;;) {
    const folders = account.incomingServer.rootFolder.descendants;
    const found = folders.find(folder => folder.name.toLowerCase() == "inbox");
    if (found) {
      return found;
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

async function read(kind, folder, messages) {
  let number = 0;
  for (const header of folder.messages) {
    messages[`${kind}-${++number}`] = await source(folder, header);
  }
}

function send(account) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const identity = account.defaultIdentity;
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { from: identity.email, to: user, subject: "from Thunderbird" });
  const end = status => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`sending: ${status.toString(16)}`)));
  const listener = {
    QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
    onStartSending() {},
    onSendProgress() {},
    onStatus() {},
    onSendNotPerformed() { reject(new Error("not sent")); },
    onTransportSecurityError() {},
    onStopSending(id, status) { Components.isSuccessCode(status) || end(status); },
    onGetDraftFolderURI() {},
    onStartCopy() {},
    onProgress() {},
    setMessageKey() {},
    getMessageId() { return null; },
    onStopCopy: end,
  };
  Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend).createAndSendMessage(
    null, identity, account.key, fields, false, false, Ci.nsIMsgSend.nsMsgDeliverNow, null, "text/plain", body,
    null, null, listener, "", "", Ci.nsIMsgCompType.New
  );
  return promise;
}

async function run() {
  Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(certificate, "C,,");
  for (const kind of ["imap", "mailbox", "smtp"]) {
    await remember(kind);
  }
  const messages = {};
  const account = kind => MailServices.accounts.accounts.find(account => account.incomingServer.type == kind);
  const root = account("imap").incomingServer.rootFolder;
  step = "listing folders";
  await finished(listener => MailServices.imap.discoverAllFolders(root, listener, null));
  step = "finding the INBOX";
  const imap = await inbox(account("imap"));
  step = "updating the INBOX";
  await finished(listener => imap.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, listener));
  step = "reading by IMAP";
  await read("imap", imap, messages);
  step = "finding the Inbox of POP3";
  const pop3 = await inbox(account("pop3"));
  const server = pop3.server.QueryInterface(Ci.nsIPop3IncomingServer);
  step = "fetching by POP3";
  await finished(listener => MailServices.pop3.GetNewMail(null, listener, pop3, server));
  step = "reading what came by POP3";
  await read("pop3", pop3, messages);
  step = "sending";
  await send(account("imap"));
  return messages;
}

const late = setTimeout(() => done({ error: `nothing more comes of ${step}` }), PATIENCE);
run()
  .finally(() => clearTimeout(late))
  .then(done, error => done({ error: `${error}\n${error.stack}` }));
