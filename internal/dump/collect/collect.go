// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
)

// collector is one dump on its way.
type collector struct {
	Options
	archive *dump.Archive
	kernel  kernel
	folders []string // of programs
	here    *os.File // the namespace it was called in
	left    int      // of MaxTotal
}

// Collect takes a dump of the node whose network namespace the calling thread is
// in, as root. What can't be taken is a
// gap of the archive with its reason; an error means that there is no dump.
func Collect(ctx context.Context, o Options) (*dump.Archive, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("taking a dump: reading rules, routes and connections needs root")
	}
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("taking a dump: opening the network namespace: %w", err)
	}
	defer here.Close()
	return collect(ctx, o.withDefaults(), here, programFolders())
}

func collect(ctx context.Context, o Options, here *os.File, folders []string) (*dump.Archive, error) {
	c := &collector{
		Options: o, kernel: readKernel(), folders: folders, here: here, left: o.MaxTotal,
		archive: &dump.Archive{Header: dump.Header{Taken: time.Now().UTC().Truncate(time.Second), Tool: o.Tool}},
	}
	if o.Only != "" {
		c.only(ctx)
	} else {
		c.node(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("taking a dump: %w", err)
	}
	return c.archive, nil
}

// hostKinds are what a node's own namespace has; a ztunnel's has its
// configuration besides.
func hostKinds() []dump.Kind {
	return slices.DeleteFunc(dump.Kinds(), func(k dump.Kind) bool { return k == dump.KindConfigDump })
}

// podKinds leave out what only says something about a node.
func podKinds() []dump.Kind {
	return slices.DeleteFunc(hostKinds(), func(k dump.Kind) bool { return k == dump.KindConns })
}

// only takes the namespace this runs in.
func (c *collector) only(ctx context.Context) {
	kinds := hostKinds()
	switch c.Only {
	case dump.HostSpace:
	case dump.ZtunnelSpace:
		kinds = dump.Kinds()
	default:
		kinds = podKinds()
	}
	c.space(c.Only, int(c.here.Fd())).take(ctx, kinds)
	if c.Only == dump.HostSpace {
		c.workloads(ctx)
	}
	c.archive.Header.Node = cmp.Or(c.Node, c.archive.Header.Node, hostname())
}

// node takes the node's namespace, its ztunnel's and its pods'.
func (c *collector) node(ctx context.Context) {
	host := c.space(dump.HostSpace, int(c.here.Fd()))
	host.take(ctx, hostKinds())
	known := c.workloads(ctx)
	c.archive.Header.Node = cmp.Or(c.Node, c.archive.Header.Node, hostname())
	var found *neighbours
	err := host.inside(func() (err error) {
		found, err = findNeighbours()
		return err
	})
	if err != nil {
		c.archive.Gap(dump.ZtunnelSpace, "", err.Error())
		return
	}
	defer found.close()
	c.neighbours(ctx, found, known)
}

func (c *collector) space(name string, fd int) *space {
	return &space{collector: c, name: name, fd: fd}
}

// neighbours takes the namespaces of the ztunnel and of the pods.
func (c *collector) neighbours(ctx context.Context, found *neighbours, known *dump.Workloads) {
	ztunnel, err := found.ztunnel(known)
	if err != nil {
		c.archive.Gap(dump.ZtunnelSpace, "", err.Error())
	} else {
		c.space(dump.ZtunnelSpace, ztunnel.fd()).take(ctx, dump.Kinds())
	}
	pods := found.pods(ztunnel, known)
	taken := 0
	for _, p := range pods {
		if c.Pods >= 0 && taken == c.Pods {
			c.archive.Gap("", "", fmt.Sprintf("%d pods' namespaces are left out: --pods %d", len(pods)-taken, c.Pods))
			return
		}
		taken++
		if p.namespace == nil {
			c.archive.Gap(p.name, "", p.unreached())
			continue
		}
		c.space(p.name, p.fd()).take(ctx, podKinds())
	}
}

// workloads asks the node controller for names. nil where it does not answer.
func (c *collector) workloads(ctx context.Context) *dump.Workloads {
	known, err := c.askNode(ctx)
	if err != nil {
		c.archive.Gap("", "workloads", err.Error())
		return nil
	}
	c.archive.Header.Node = known.Node
	if err := c.archive.AddWorkloads(known); err != nil {
		c.archive.Gap("", "workloads", err.Error())
	}
	return known
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
