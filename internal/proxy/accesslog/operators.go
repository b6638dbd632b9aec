// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"fmt"
	"strconv"
	"strings"
)

// texts are the operators that print a text field of the entry.
func texts(name string) func(*Entry) string {
	switch name {
	case "PROTOCOL":
		return func(e *Entry) string { return e.Protocol }
	case "RESPONSE_FLAGS":
		return func(e *Entry) string { return e.ResponseFlags }
	case "RESPONSE_CODE_DETAILS":
		return func(e *Entry) string { return oneWord(e.ResponseCodeDetails) }
	case "CONNECTION_TERMINATION_DETAILS":
		return func(e *Entry) string { return oneWord(e.ConnectionTerminationDetails) }
	case "UPSTREAM_TRANSPORT_FAILURE_REASON":
		return func(e *Entry) string { return oneWord(e.UpstreamTransportFailureReason) }
	case "UPSTREAM_HOST":
		return func(e *Entry) string { return e.UpstreamHost }
	case "UPSTREAM_CLUSTER":
		return func(e *Entry) string { return e.UpstreamCluster }
	case "UPSTREAM_LOCAL_ADDRESS":
		return func(e *Entry) string { return e.UpstreamLocalAddress }
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return func(e *Entry) string { return e.DownstreamLocalAddress }
	case "DOWNSTREAM_REMOTE_ADDRESS":
		return func(e *Entry) string { return e.DownstreamRemoteAddress }
	case "REQUESTED_SERVER_NAME":
		return func(e *Entry) string { return e.RequestedServerName }
	case "ROUTE_NAME":
		return func(e *Entry) string { return e.RouteName }
	}
	return nil
}

// numbers are the operators that always print a number. A TCP connection has
// response code 0, as Envoy prints it.
func numbers(name string) func(*Entry) int64 {
	switch name {
	case "RESPONSE_CODE":
		return func(e *Entry) int64 { return int64(e.ResponseCode) }
	case "BYTES_RECEIVED":
		return func(e *Entry) int64 { return e.BytesReceived }
	case "BYTES_SENT":
		return func(e *Entry) int64 { return e.BytesSent }
	case "DURATION":
		return func(e *Entry) int64 { return e.Duration.Milliseconds() }
	}
	return nil
}

// compile makes the operator a part of a format.
func (op operator) compile() (part, error) {
	if get := texts(op.name); get != nil {
		return text(get), op.bare()
	}
	if get := numbers(op.name); get != nil {
		return number(get), op.bare()
	}
	switch op.name {
	case "START_TIME":
		return op.startTime()
	case "REQ":
		return op.header(func(e *Entry) func(string) string { return e.RequestHeader })
	case "RESP":
		return op.header(func(e *Entry) func(string) string { return e.ResponseHeader })
	case "DYNAMIC_METADATA":
		return op.metadata()
	}
	return nil, fmt.Errorf("unknown operator %q", head(op.name))
}

// bare refuses an argument or a limit where there is none in Envoy.
func (op operator) bare() error {
	if op.hasArg || op.limit >= 0 {
		return fmt.Errorf("operator %q takes no argument and no length", op.name)
	}
	return nil
}

func text(get func(*Entry) string) part {
	return func(dst []byte, e *Entry) ([]byte, bool) {
		s := get(e)
		return append(dst, s...), s != ""
	}
}

func number(get func(*Entry) int64) part {
	return func(dst []byte, e *Entry) ([]byte, bool) {
		return strconv.AppendInt(dst, get(e), 10), true
	}
}

// header is REQ(MAIN?ALTERNATIVE):LIMIT, and RESP likewise.
func (op operator) header(of func(*Entry) func(string) string) (part, error) {
	main, alternative, _ := strings.Cut(strings.ToLower(op.arg), "?")
	if main == "" || strings.Contains(alternative, "?") {
		return nil, fmt.Errorf("operator %q: argument %q is not HEADER or HEADER?ALTERNATIVE", op.name, op.arg)
	}
	return func(dst []byte, e *Entry) ([]byte, bool) {
		get := of(e)
		if get == nil {
			return dst, false
		}
		value := get(main)
		if value == "" && alternative != "" {
			value = get(alternative)
		}
		return append(dst, op.cut(value)...), value != ""
	}, nil
}

// cut applies the length limit.
func (op operator) cut(s string) string {
	if op.limit >= 0 && len(s) > op.limit {
		return s[:op.limit]
	}
	return s
}

// oneWord joins a reason's words with underscores, as Envoy does: the log's
// columns are separated by spaces, and a line break would forge a line.
func oneWord(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Join(strings.Fields(s), "_")
}
