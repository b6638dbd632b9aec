// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/cluster/kube"
	"github.com/ambient22/ambient22/hack/image"
)

// appImage is the image of the application that the tests call, and call from.
const appImage = "ambient22.test/app:cluster"

// downPatience bounds the clean-up after an interrupted or failed start.
const downPatience = time.Minute

func (p *program) up() *cobra.Command {
	var app, echo, pause string
	c := &cobra.Command{
		Use: "up", Short: "Start the cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if p.binaries == "" || app == "" || echo == "" || pause == "" {
				return errors.New("--binaries, --app, --echo and --pause are needed: hack/cluster.sh passes them")
			}
			return p.start(c.Context(), func(dir string) ([]string, error) { return writeImages(dir, app, echo, pause) })
		},
	}
	c.Flags().StringVar(&app, "app", "", "the program of the image "+appImage)
	c.Flags().StringVar(&echo, "echo", "", "the second program of that image")
	c.Flags().StringVar(&pause, "pause", "", "the program of the image "+kube.PauseImage)
	return c
}

func writeImages(dir, app, echo, pause string) ([]string, error) {
	var paths []string
	for _, i := range []image.Image{
		{Name: kube.PauseImage, Files: map[string]string{"pause": pause}, Entrypoint: []string{"/pause"}},
		{Name: appImage, Files: map[string]string{"ambientctl": app, "echo": echo}, Entrypoint: []string{"/ambientctl"}},
	} {
		path := filepath.Join(dir, fmt.Sprintf("image-%d.tar", len(paths)))
		if err := i.WriteTar(path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// start brings the cluster up, or takes away what it made of it.
func (p *program) start(ctx context.Context, images func(dir string) ([]string, error)) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	c := p.cluster()
	c.WriteImages, c.Init = images, []string{self, "inside"}
	steps := newSteps(p.out)
	err = c.Up(ctx, steps.say)
	if err == nil || errors.Is(err, kube.ErrUp) {
		return err
	}
	keepErr := p.keepLogs()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), downPatience)
	defer cancel()
	return errors.Join(err, keepErr, c.Down(down))
}

// keepLogs copies the logs, where there are any, to where they outlive the cluster,
// and says where that is.
func (p *program) keepLogs() error {
	logs := p.cluster().Logs()
	if _, err := os.Stat(logs); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir, err := os.MkdirTemp("", "ambient22-logs-")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(logs))
	}
	if err != nil {
		return fmt.Errorf("keeping the logs: %w", err)
	}
	fmt.Fprintln(p.err, "cluster: the logs are in", dir)
	return nil
}

func (p *program) down() *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use: "down", Short: "Take everything of the cluster away", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if keep {
				err = p.keepLogs()
			}
			return errors.Join(err, p.cluster().Down(c.Context()))
		},
	}
	c.Flags().BoolVar(&keep, "keep-logs", false, "copy the logs to a temporary folder first, and say which")
	return c
}
