import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.List;
import javax.net.ssl.*;

/** JavaMail's way: a trust store by system property, the host name checked, the greeting read. */
class Tls {
    public static void main(String[] ports) throws IOException {
        for (String port : ports) {
            for (String version : List.of("TLSv1.2", "TLSv1.3")) {
                SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
                try (SSLSocket socket = (SSLSocket) factory.createSocket("localhost", Integer.parseInt(port))) {
                    SSLParameters parameters = socket.getSSLParameters();
                    parameters.setEndpointIdentificationAlgorithm("HTTPS");
                    parameters.setProtocols(new String[] {version});
                    socket.setSSLParameters(parameters);
                    socket.startHandshake();
                    InputStream in = socket.getInputStream();
                    String greeting = new BufferedReader(new InputStreamReader(in, StandardCharsets.US_ASCII)).readLine();
                    System.out.println(socket.getSession().getProtocol() + " " + greeting.split(" ")[0]);
                }
            }
        }
    }
}
