// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/cluster/image"
	"github.com/ambient22/ambient22/hack/cluster/kube"
)

// appImage is the image of the application that the tests call, and call from.
const appImage = "ambient22.test/app:cluster"

// downPatience bounds the clean-up after an interrupted or failed start.
const downPatience = time.Minute

func (p *program) up() *cobra.Command {
	var app, pause string
	c := &cobra.Command{
		Use: "up", Short: "Start the cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if p.binaries == "" || app == "" || pause == "" {
				return errors.New("--binaries, --app and --pause are needed: hack/cluster.sh passes them")
			}
			archives, err := os.MkdirTemp("", "ambient22-images-")
			if err != nil {
				return fmt.Errorf("making a folder for images: %w", err)
			}
			defer os.RemoveAll(archives)
			images, err := writeImages(archives, app, pause)
			if err != nil {
				return err
			}
			return p.start(c.Context(), images)
		},
	}
	c.Flags().StringVar(&app, "app", "", "the program of the image "+appImage)
	c.Flags().StringVar(&pause, "pause", "", "the program of the image "+kube.PauseImage)
	return c
}

func writeImages(dir, app, pause string) ([]string, error) {
	var paths []string
	for _, i := range []image.Image{
		{Name: kube.PauseImage, Files: map[string]string{"pause": pause}, Entrypoint: []string{"/pause"}},
		{Name: appImage, Files: map[string]string{"ambientctl": app}, Entrypoint: []string{"/ambientctl"}},
	} {
		path := filepath.Join(dir, fmt.Sprintf("%d.tar", len(paths)))
		if err := i.WriteTar(path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// start brings the cluster up, or takes away what it made of it.
func (p *program) start(ctx context.Context, images []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	c := p.cluster()
	c.Images, c.Init = images, []string{self, "inside"}
	steps := newSteps(p.out)
	err = c.Up(ctx, steps.say)
	if err == nil || errors.Is(err, kube.ErrUp) {
		return err
	}
	kept, copyErr := keepLogs(c.Logs())
	if copyErr == nil {
		fmt.Fprintln(p.err, "cluster: the logs are in", kept)
	}
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), downPatience)
	defer cancel()
	return errors.Join(err, copyErr, c.Down(down))
}

// keepLogs copies the logs to where they outlive the cluster.
func keepLogs(logs string) (string, error) {
	dir, err := os.MkdirTemp("", "ambient22-logs-")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(logs))
	}
	if err != nil {
		return "", fmt.Errorf("keeping the logs: %w", err)
	}
	return dir, nil
}

func (p *program) down() *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use: "down", Short: "Take everything of the cluster away", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if keep {
				kept, err := keepLogs(p.cluster().Logs())
				if err != nil {
					return err
				}
				fmt.Fprintln(p.err, "cluster: the logs are in", kept)
			}
			return p.cluster().Down(c.Context())
		},
	}
	c.Flags().BoolVar(&keep, "keep-logs", false, "copy the logs to a temporary folder first, and say which")
	return c
}
