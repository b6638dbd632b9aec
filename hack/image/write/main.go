// SPDX-License-Identifier: Apache-2.0

// Command write puts programs and a folder into a container image, as an archive
// that containerd, kind and others load (hack/images.sh).
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/image"
)

// programs is the folder of the image that programs are put into. It is on the PATH
// with the folders of Debian's own.
const (
	programs   = "usr/local/bin"
	searchPath = "/usr/local/bin:/usr/sbin:/usr/bin"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// run is the whole program. It returns the process's exit code.
func run(args []string, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(stderr, "write:", err)
		return 1
	}
	return 0
}

func newCommand() *cobra.Command {
	var out string
	i := image.Image{Path: searchPath, Files: map[string]string{}}
	c := &cobra.Command{
		Use: "write --name NAME --out FILE [--tree DIR] PROGRAM...", Short: "Write a container image as an archive",
		Args: cobra.MinimumNArgs(1), SilenceUsage: true, SilenceErrors: true,
		RunE: func(_ *cobra.Command, args []string) error {
			for _, path := range args {
				i.Files[programs+"/"+filepath.Base(path)] = path
			}
			return i.WriteTar(out)
		},
	}
	c.Flags().StringVar(&i.Name, "name", "", "full name of the image, with registry and tag")
	c.Flags().StringVar(&out, "out", "", "the archive to write")
	c.Flags().StringVar(&i.Tree, "tree", "", "folder whose content is put at the image's root")
	for _, required := range []string{"name", "out"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err) // the flag is three lines above
		}
	}
	return c
}
