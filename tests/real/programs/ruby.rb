# Ruby's Net::IMAP, Net::POP3 and Net::SMTP, with each mechanism named, or APOP.
require "net/imap"
require "net/pop"
require "net/smtp"

user, password, imap, pop3, smtp, message, folder = ARGV

mechanisms = ENV["MECHANISMS"].split
[*mechanisms, nil].each do |mechanism|
  session = Net::IMAP.new("127.0.0.1", port: imap.to_i)
  mechanism ? session.authenticate(mechanism, user, password) : session.login(user, password)
  session.examine("INBOX")
  session.fetch(1..-1, "BODY.PEEK[]").each do |fetched|
    File.binwrite("#{folder}/imap-#{fetched.seqno}", fetched.attr["BODY[]"])
  end
  session.logout
  session.disconnect
end

Net::POP3.start("127.0.0.1", pop3.to_i, user, password, mechanisms.include?("CRAM-MD5")) do |session|
  session.each_mail { |mail| File.binwrite("#{folder}/pop3-#{mail.number}", mail.pop) }
end

mechanisms.each do |mechanism|
  Net::SMTP.start("127.0.0.1", smtp.to_i, user: user, secret: password, authtype: mechanism.downcase.tr("-", "_").to_sym, starttls: false) do |session|
    session.send_message(File.binread(message), user, user)
  end
end
