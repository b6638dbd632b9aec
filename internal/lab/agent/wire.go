// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// frameType says what a frame's payload is. A frame is its type (one byte), the payload's length (four bytes, big
// endian) and the payload.
type frameType byte

const (
	frameRequest frameType = 'r' // host to guest, first: a request as JSON
	frameStdin   frameType = 'i' // host to guest: input; an empty frame ends it
	frameSignal  frameType = 's' // host to guest: a signal number in one byte, for the command's process group
	frameStdout  frameType = 'o' // guest to host: output
	frameStderr  frameType = 'e' // guest to host: error output
	frameTaken   frameType = 't' // guest to host: how many bytes of input (four bytes) left the guest's buffer
	frameExit    frameType = 'x' // guest to host, last: the exit code in four bytes
	frameFailed  frameType = 'f' // guest to host, last: the request could not be carried out; a failure as JSON
)

const (
	maxFrame    = 64 << 10  // payload limit; a longer one means the stream is not ours
	chunkSize   = 32 << 10  // how much is read at once into an output frame
	stdinWindow = 256 << 10 // how much input may be on its way or in the guest's buffer
)

type requestKind string

const (
	kindExec     requestKind = "exec"
	kindHello    requestKind = "hello"
	kindPowerOff requestKind = "poweroff"
)

// request is what the host asks for. Path to Dir belong to exec, UnixNano to hello.
type request struct {
	Kind     requestKind `json:"kind"`
	Path     string      `json:"path,omitempty"`
	Args     []string    `json:"args,omitempty"`
	Env      []string    `json:"env,omitempty"`
	Dir      string      `json:"dir,omitempty"`
	UnixNano int64       `json:"unixNano,omitempty"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// frameWriter writes whole frames; its methods may be called concurrently.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) write(t frameType, payload []byte) error {
	frame := make([]byte, 5+len(payload))
	frame[0] = byte(t)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(payload)))
	copy(frame[5:], payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.w.Write(frame)
	return err
}

func (f *frameWriter) writeNumber(t frameType, n uint32) error {
	return f.write(t, binary.BigEndian.AppendUint32(nil, n))
}

func (f *frameWriter) writeJSON(t frameType, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %T: %w", v, err)
	}
	if len(payload) > maxFrame {
		return fmt.Errorf("encoding %T: %d bytes are more than the %d a frame can carry", v, len(payload), maxFrame)
	}
	return f.write(t, payload)
}

// readFrame reads the next frame. The payload is valid until the next call with the same buf.
func readFrame(r io.Reader, buf []byte) (frameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("reading a frame of type %q: %d bytes are more than the %d a frame can carry", head[0], n, maxFrame)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return frameType(head[0]), buf[:n], nil
}

func frameNumber(payload []byte) (uint32, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("reading a number: %d bytes instead of 4", len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}
