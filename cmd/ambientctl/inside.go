// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/lab/hosts"
)

// insideCommand groups what the lab itself runs inside its hosts.
func insideCommand(s streams) *cobra.Command {
	c := &cobra.Command{Use: "inside", Short: "What the lab runs inside its hosts", Hidden: true}
	group(c)
	c.AddCommand(enterCommand(), serveCommand(s), getCommand(s), loadCommand(s), transferCommand(s), waitCommand())
	return c
}

func enterCommand() *cobra.Command {
	var e hosts.Entry
	c := &cobra.Command{
		Use: "enter --netns NAME [--pod] [--tools DIR] -- COMMAND", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			// A signal must end this process as it would end the command, not be
			// caught here and forgotten by exec.
			signal.Reset()
			if err := c.Context().Err(); err != nil {
				return err
			}
			return hosts.EnterMain(e, args)
		},
	}
	c.Flags().StringVar(&e.Namespace, "netns", "", "network namespace to enter")
	c.Flags().BoolVar(&e.Pod, "pod", false, "hide what a pod does not see")
	c.Flags().StringVar(&e.Tools, "tools", "", "folder to put before PATH")
	return c
}

func serveCommand(s streams) *cobra.Command {
	var listen, name string
	c := &cobra.Command{
		Use: "serve", Short: "Serve the lab's application over HTTP", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listening on %s: %w", listen, err)
			}
			fmt.Fprintf(s.out, "%s serves on %s\n", name, l.Addr())
			return app.Serve(c.Context(), l, name)
		},
	}
	c.Flags().StringVar(&listen, "listen", ":9080", "address and port")
	c.Flags().StringVar(&name, "name", "productpage", "name to answer with")
	return c
}

func getCommand(s streams) *cobra.Command {
	var client app.Client
	var asJSON bool
	c := &cobra.Command{
		Use: "get URL", Short: "Make one request", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			call, err := client.Get(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(s, call)
			}
			_, err = fmt.Fprint(s.out, call.Body)
			return err
		},
	}
	c.Flags().DurationVar(&client.Timeout, "timeout", 20*time.Second, "for the whole request")
	c.Flags().BoolVar(&asJSON, "json", false, "print what the caller saw, as JSON")
	return c
}

func loadCommand(s streams) *cobra.Command {
	client := app.Client{}
	var requests, concurrent int
	c := &cobra.Command{
		Use: "load URL", Short: "Make many requests and print what came of them, as JSON", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return printJSON(s, client.Load(c.Context(), args[0], requests, concurrent))
		},
	}
	c.Flags().IntVar(&requests, "requests", 1, "requests of each caller")
	c.Flags().IntVar(&concurrent, "concurrent", 1, "callers at once")
	c.Flags().BoolVar(&client.KeepAlive, "keep-alive", false, "each caller keeps its connection")
	c.Flags().DurationVar(&client.Timeout, "timeout", 60*time.Second, "of one request")
	return c
}

func transferCommand(s streams) *cobra.Command {
	var bytes int64
	var down bool
	c := &cobra.Command{
		Use: "transfer URL", Short: "Send or fetch one large body and check every byte of it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			move := app.Client{}.Upload
			if down {
				move = app.Client{}.Download
			}
			t, err := move(c.Context(), args[0], bytes)
			if err != nil {
				return err
			}
			return printJSON(s, t)
		},
	}
	c.Flags().Int64Var(&bytes, "bytes", 1<<20, "length of the body")
	c.Flags().BoolVar(&down, "down", false, "fetch instead of send")
	return c
}

func printJSON(s streams, v any) error {
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
