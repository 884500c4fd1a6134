// Prints the addresses that net/mail reads in a field: base64 of its value a line in, a JSON list a line out.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/mail"
	"os"
	"strings"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		value, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			panic(err)
		}
		found := []string{}
		// as a header gives it, unfolded
		message, err := mail.ReadMessage(strings.NewReader("From:" + string(value) + "\n\n"))
		if err == nil {
			if list, err := message.Header.AddressList("From"); err == nil {
				for _, address := range list {
					found = append(found, address.Address)
				}
			}
		}
		text, _ := json.Marshal(found)
		fmt.Println(string(text))
	}
}
