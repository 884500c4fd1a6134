// Jakarta Mail (JavaMail): the text comes composed.
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.MimeMessage;
import java.io.FileInputStream;
import java.util.Properties;

public class JakartaMail {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        switch (System.getenv("PORT")) {
            case "25" -> {
                // <25>
                properties.put("mail.smtp.host", "postroad");
                // </25>
            }
            case "587" -> {
                // <587>
                properties.put("mail.smtp.host", "mail.example.com");
                properties.put("mail.smtp.port", "587");
                properties.put("mail.smtp.starttls.required", "true");
                properties.put("mail.smtp.ssl.checkserveridentity", "true");
                properties.put("mail.smtp.auth", "true");
                // </587>
            }
            default -> {
                properties.put("mail.smtp.host", "mail.example.com");
                properties.put("mail.smtp.port", "465");
                properties.put("mail.smtp.ssl.enable", "true");
                properties.put("mail.smtp.ssl.checkserveridentity", "true");
                properties.put("mail.smtp.auth", "true");
            }
        }
        Session session = Session.getInstance(properties);
        MimeMessage message;
        try (FileInputStream text = new FileInputStream(System.getenv("EML"))) {
            message = new MimeMessage(session, text);
        }
        if (System.getenv("PORT").equals("25")) {
            Transport.send(message);
        } else {
            Transport.send(message, "app", System.getenv("SMTP_PASSWORD"));
        }
    }
}
