<?php // PHP's mail(), set up by php_mail.sh
$given = json_decode(file_get_contents(getenv("MESSAGE")), true);
mb_internal_encoding("UTF-8");
$html = $given["html"] !== "";
$headers = ["From" => mb_encode_mimeheader($given["from_name"]) . " <" . getenv("FROM") . ">", "MIME-Version" => "1.0"];
if ($html) {
    $headers["Content-Type"] = "multipart/alternative; boundary=part";
    $body = "--part\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" . chunk_split(base64_encode($given["text"]))
        . "--part\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" . chunk_split(base64_encode($given["html"])) . "--part--\r\n";
} else {
    $headers += ["Content-Type" => "text/plain; charset=UTF-8", "Content-Transfer-Encoding" => "base64"];
    $body = chunk_split(base64_encode($given["text"]));
}
exit(mail(getenv("TO"), mb_encode_mimeheader($given["subject"]), $body, $headers, "-f" . getenv("FROM")) ? 0 : 1);
