// SPDX-License-Identifier: Apache-2.0

package geneve

import (
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// Known asks the kernel whether it has this kind of tunnel, and has it load the
// module if that is all that is missing. Nothing is made: the request lacks what
// every tunnel needs, and the kernel looks at that only after it knows the kind. An
// answer of ErrUnsupported says no.
func (c *Conn) Known(k Kind) error {
	var b nlbatch.Batch
	b.Begin(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifInfoMsg(0, 0, 0))
	b.String(unix.IFLA_IFNAME, "ambient22-try")
	b.Open(unix.IFLA_LINKINFO)
	b.String(unix.IFLA_INFO_KIND, k.String())
	b.Close()
	failures, err := c.nl.Send(&b)
	if len(failures) > 0 {
		err = failures[0].Err
	}
	switch {
	case errors.Is(err, unix.EINVAL):
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("asking for %s devices: %w: %w", k, ErrUnsupported, err)
	case err == nil:
		return fmt.Errorf("asking for %s devices: the kernel made one out of nothing", k)
	}
	return fmt.Errorf("asking for %s devices: %w", k, err)
}
