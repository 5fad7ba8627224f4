// ImapFlow and Nodemailer, from the npm registry.
const { readFileSync, writeFileSync } = require("node:fs");
const { ImapFlow } = require("imapflow");
const nodemailer = require("nodemailer");

const [user, password, imap, , smtp, message, folder] = process.argv.slice(2);

async function fetch(loginMethod) {
  const client = new ImapFlow({
    host: "127.0.0.1", port: Number(imap), secure: false, doSTARTTLS: false, logger: false,
    auth: { user, pass: password, loginMethod },
  });
  await client.connect();
  await client.mailboxOpen("INBOX", { readOnly: true });
  for await (const { seq, source } of client.fetch("1:*", { source: true })) {
    writeFileSync(`${folder}/imap-${seq}`, source);
  }
  await client.logout();
}

async function send(authMethod) {
  const transport = nodemailer.createTransport({
    host: "127.0.0.1", port: Number(smtp), ignoreTLS: true, authMethod, auth: { user, pass: password },
  });
  await transport.sendMail({ envelope: { from: user, to: user }, raw: readFileSync(message) });
  transport.close();
}

async function main() {
  for (const method of ["AUTH=PLAIN", "AUTH=LOGIN", "LOGIN"]) await fetch(method);
  for (const method of ["PLAIN", "LOGIN"]) await send(method);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
