// SPDX-License-Identifier: Apache-2.0

// Package agent runs commands on the far side of a byte stream: the lab's host asks, the lab's machine executes.
//
// Each conversation is one stream and one request. A command gets its arguments, environment and working directory
// from the request; standard input, output and error and signals travel as frames in both directions, and the last
// frame carries the exit code. Every direction is flow-controlled: a command that does not read its input holds back
// only its input (a signal still passes it), and a reader that does not take the output holds back the command.
//
// A command lives in a process group of its own. It ends with its conversation: when the host's side of the stream
// goes away the group gets SIGHUP and, a little later, SIGKILL. A process that left the group (setsid) stays, which
// is how a command starts a daemon.
//
// The package knows nothing of how streams come to be. Mux puts many of them onto one byte stream, such as a virtio
// serial port.
package agent
