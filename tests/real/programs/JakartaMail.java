import jakarta.mail.*;
import jakarta.mail.internet.*;
import java.io.*;
import java.util.Properties;

/** Jakarta Mail (once JavaMail), which issue trackers and build servers are made with, by each mechanism it knows. */
class JakartaMail {
    static String user, password;

    static Session session(String protocol, String mechanism) {
        Properties settings = new Properties();
        settings.put("mail." + protocol + ".auth.mechanisms", mechanism);
        settings.put("mail." + protocol + ".auth", "true");
        settings.put("mail." + protocol + ".timeout", "60000");
        return Session.getInstance(settings);
    }

    static void fetch(String protocol, String mechanism, int port, String folder) throws Exception {
        Store store = session(protocol, mechanism).getStore(protocol);
        store.connect("127.0.0.1", port, user, password);
        Folder inbox = store.getFolder("INBOX");
        inbox.open(Folder.READ_ONLY);
        for (Message message : inbox.getMessages()) {
            String name = folder + "/" + protocol + "-" + message.getMessageNumber();
            try (OutputStream file = new FileOutputStream(name)) {
                message.writeTo(file);
            }
        }
        inbox.close(false);
        store.close();
    }

    static void send(String mechanism, int port, String file) throws Exception {
        Session session = session("smtp", mechanism);
        Transport transport = session.getTransport("smtp");
        transport.connect("127.0.0.1", port, user, password);
        MimeMessage message = new MimeMessage(session, new FileInputStream(file));
        transport.sendMessage(message, InternetAddress.parse(user));
        transport.close();
    }

    public static void main(String[] arguments) throws Exception {
        user = arguments[0];
        password = arguments[1];
        // Of POP3 it calls USER and PASS "LOGIN".
        fetch("pop3", "LOGIN", Integer.parseInt(arguments[3]), arguments[6]);
        fetch("imap", "PLAIN", Integer.parseInt(arguments[2]), arguments[6]);
        fetch("imap", "LOGIN", Integer.parseInt(arguments[2]), arguments[6]);
        send("PLAIN", Integer.parseInt(arguments[4]), arguments[5]);
        send("LOGIN", Integer.parseInt(arguments[4]), arguments[5]);
    }
}
