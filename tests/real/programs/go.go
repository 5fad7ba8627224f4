// Go's net/smtp: it begins TLS wherever that is offered, says PLAIN in the clear to the loopback alone, and knows no
// LOGIN, which programs add as below.
package main

import (
	"fmt"
	"net/smtp"
	"os"
	"strings"
)

type login struct{ user, password string }

func (login) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "LOGIN", nil, nil
}

// Every LOGIN for Go compares the prompts letter by letter.
func (login login) Next(prompt []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case string(prompt) == "Username:":
		return []byte(login.user), nil
	case string(prompt) == "Password:":
		return []byte(login.password), nil
	}
	return nil, fmt.Errorf("not a prompt: %q", prompt)
}

func main() {
	user, password, port, file := os.Args[1], os.Args[2], os.Args[5], os.Args[6]
	message, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	auths := map[string]smtp.Auth{
		"PLAIN":    smtp.PlainAuth("", user, password, "localhost"),
		"LOGIN":    login{user, password},
		"CRAM-MD5": smtp.CRAMMD5Auth(user, password),
	}
	for _, mechanism := range strings.Fields(os.Getenv("MECHANISMS")) {
		if err := smtp.SendMail("localhost:"+port, auths[mechanism], user, []string{user}, message); err != nil {
			panic(err)
		}
	}
}
