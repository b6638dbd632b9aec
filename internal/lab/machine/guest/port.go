// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// settle is how often something that the kernel is about to do is looked for.
const settle = 5 * time.Millisecond

// port is a virtio serial port that the host has open for as long as the machine runs.
type port struct {
	*os.File
}

// openPort finds the port of that name. The host names a port in a message of its own, some time after the driver is there.
func openPort(name string) (*port, error) {
	for range 2000 {
		device, err := findPort(name)
		if err != nil {
			return nil, err
		}
		if device != "" {
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			if err != nil {
				return nil, fmt.Errorf("opening the port to the host: %w", err)
			}
			return &port{File: f}, nil
		}
		time.Sleep(settle)
	}
	return nil, fmt.Errorf("opening the port to the host: there is no virtio serial port named %s", name)
}

func findPort(name string) (device string, err error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", fmt.Errorf("looking for the port to the host: %w", err)
	}
	for _, file := range names {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(file))), nil
		}
	}
	return "", nil
}

// Read waits out the moments in which the driver has not heard yet that the host's side is open: it reports an end of
// input then. There is no real one, as the machine ends with the host's side.
func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := p.File.Read(b)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		time.Sleep(settle)
	}
}
