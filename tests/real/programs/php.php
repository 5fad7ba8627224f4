<?php
// PHP's imap extension reads, PHPMailer sends: what web applications are made of. It prints what the c-client library
// holds against the server; many applications give up then.

require "/usr/share/php/libphp-phpmailer/autoload.php";

[, $user, $password, $imap, $pop3, $smtp, $message, $folder] = $argv;

foreach (["imap" => $imap, "pop3" => $pop3] as $protocol => $port) {
    $box = imap_open("{127.0.0.1:$port/$protocol/notls}INBOX", $user, $password, 0, 1);
    $complaints = array_merge(imap_errors() ?: [], imap_alerts() ?: []);
    echo implode("\n", $complaints);
    $box || exit(1);
    for ($number = 1; $number <= imap_num_msg($box); $number++) {
        file_put_contents("$folder/$protocol-$number", imap_fetchheader($box, $number) . imap_body($box, $number, FT_PEEK));
    }
    imap_close($box);
}

[, $body] = explode("\r\n\r\n", file_get_contents($message), 2);
foreach (["PLAIN", "LOGIN"] as $mechanism) {
    $mail = new PHPMailer\PHPMailer\PHPMailer(true);
    $mail->isSMTP();
    $mail->Host = "127.0.0.1";
    $mail->Port = $smtp;
    $mail->SMTPAuth = true;
    $mail->SMTPAutoTLS = false;
    $mail->AuthType = $mechanism;
    $mail->Username = $user;
    $mail->Password = $password;
    $mail->CharSet = "utf-8";
    $mail->Encoding = "8bit";
    $mail->setFrom($user);
    $mail->addAddress($user);
    $mail->Subject = "from PHP";
    $mail->Body = $body;
    $mail->send();
}
