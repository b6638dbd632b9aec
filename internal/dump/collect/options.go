// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"cmp"
	"time"
)

// Options say what is taken, and how much of it. Zero values stand for the
// defaults below.
type Options struct {
	// Node is the node's name. Without it the node controller is asked, then the
	// host's name is taken.
	Node string
	// Tool is the program's name and version, for the header.
	Tool string
	// Only takes just the namespace this runs in, under that name: in a pod that
	// can't see others. "" takes the node's, its ztunnel's and its pods'.
	Only string
	// Pods is how many pods' namespaces are taken beside the ztunnel's; negative
	// is all of them.
	Pods int
	// NodeAddr is where the node controller serves HTTP, in the host's namespace.
	NodeAddr string
	// AdminAddr is the ztunnel's admin address, in its own namespace.
	AdminAddr string
	// Timeout is for each command and request.
	Timeout time.Duration
	// MaxFile bounds one text, MaxTotal all of them, in bytes; MaxConns the
	// connections of one namespace.
	MaxFile, MaxTotal, MaxConns int
}

// The defaults.
const (
	DefaultPods      = 32
	DefaultNodeAddr  = "127.0.0.1:15014"
	DefaultAdminAddr = "127.0.0.1:15000"
	DefaultTimeout   = 20 * time.Second
	DefaultMaxFile   = 64 << 20
	DefaultMaxTotal  = 256 << 20
	DefaultMaxConns  = 100_000
)

func (o Options) withDefaults() Options {
	o.NodeAddr = cmp.Or(o.NodeAddr, DefaultNodeAddr)
	o.AdminAddr = cmp.Or(o.AdminAddr, DefaultAdminAddr)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.MaxFile = cmp.Or(o.MaxFile, DefaultMaxFile)
	o.MaxTotal = cmp.Or(o.MaxTotal, DefaultMaxTotal)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	o.Tool = cmp.Or(o.Tool, "ambientctl dump")
	return o
}
