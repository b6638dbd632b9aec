// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"fmt"
	"os"
	"slices"

	"github.com/ambient22/ambient22/internal/lab/machine/guest"
)

// The first arguments that make a program one of the machine's own parts.
const (
	guestCommand      = "lab-machine-guest"
	supervisorCommand = "lab-machine-supervisor"
)

// Dispatch must be the first thing in the main of a program that starts machines:
//
//	if code, ours := machine.Dispatch(os.Args); ours {
//		os.Exit(code)
//	}
//
// When the program was started as a part of a machine, Dispatch does that part's work to its end.
func Dispatch(args []string) (code int, ours bool) {
	switch {
	case os.Getpid() == 1 && slices.Contains(args, guestCommand): // a kernel puts options it does not know before it
		fmt.Fprintln(os.Stderr, "ambient22:", guest.Run(os.Stderr))
		return 1, true
	case len(args) > 1 && args[1] == supervisorCommand:
		return runSupervisor(), true
	}
	return 0, false
}
