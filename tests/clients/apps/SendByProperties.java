// Jakarta Mail with the properties of the command line: for apps that hand it properties of theirs.
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.MimeMessage;
import java.io.FileInputStream;

public class SendByProperties {
    public static void main(String[] arguments) throws Exception {
        Session session = Session.getInstance(System.getProperties());
        MimeMessage message;
        try (FileInputStream text = new FileInputStream(System.getenv("EML"))) {
            message = new MimeMessage(session, text);
        }
        String user = System.getProperty("mail.user");
        if (user == null) {
            Transport.send(message);
        } else {
            Transport.send(message, user, System.getProperty("mail.password"));
        }
    }
}
