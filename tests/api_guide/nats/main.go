// Stands in for `nats request` of github.com/nats-io/natscli where that program is not installed: the same client library, the
// flags that docs/api.md uses, the same words on the same streams. What it does not know it refuses.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

type headers struct{ nats.Header }

func (h headers) String() string { return "" }

func (h headers) Set(pair string) error {
	name, value, found := strings.Cut(pair, ":")
	if !found {
		return fmt.Errorf("%q is not K:V", pair)
	}
	h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) < 2 || (os.Args[1] != "request" && os.Args[1] != "req") {
		log.Fatal("only `nats request` is known here")
	}
	given := headers{nats.Header{}}
	flags := flag.NewFlagSet("request", flag.ExitOnError)
	raw := flags.Bool("raw", false, "show just the output received")
	timeout := flags.Duration("timeout", 5*time.Second, "how long to wait")
	flags.Var(given, "header", "adds a header, as K:V")
	flags.Var(given, "H", "adds a header, as K:V")
	_ = flags.Parse(os.Args[2:])
	if flags.NArg() != 2 {
		log.Fatal("a subject and a body are needed, after all flags")
	}
	if err := request(flags.Arg(0), flags.Arg(1), given.Header, *raw, *timeout); err != nil {
		log.Fatalf("nats: error: %s", err)
	}
}

func request(subject, body string, given nats.Header, raw bool, timeout time.Duration) error {
	server := os.Getenv("NATS_URL")
	if server == "" {
		server = nats.DefaultURL
	}
	nc, err := nats.Connect(server, nats.Name("NATS CLI"))
	if err != nil {
		return err
	}
	defer nc.Close()
	if !raw {
		log.Printf("Sending request on %q\n", subject)
	}
	start := time.Now()
	answer, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: given, Data: []byte(body)}, timeout)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		log.Printf("No responders are available")
		return nil
	case errors.Is(err, nats.ErrTimeout):
		return nil
	case err != nil:
		return err
	}
	if !raw {
		log.Printf("Received with rtt %v", time.Since(start))
		for name, values := range answer.Header {
			for _, value := range values {
				log.Printf("%s: %s", name, value)
			}
		}
	}
	fmt.Println(string(answer.Data))
	return nil
}
