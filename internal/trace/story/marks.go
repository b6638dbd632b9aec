// SPDX-License-Identifier: Apache-2.0

package story

// The marks on the node (listing 02). Masks are the same bits.
const (
	captureMark  = 0x100 // a pod's call: to the ztunnel's outbound side
	skipMark     = 0x200 // passed by: nothing more happens to it
	connSkipMark = 0x220 // contains skipMark; the connection keeps it, so that answers are passed by, too
	noTableMark  = 0x20  // what a hardened node sends itself: past table 100 only
	proxyMark    = 0x210 // contains skipMark; the ztunnel calls with a pod's address, and the connection keeps it
	returnMark   = 0x40  // an answer to such a call: to the ztunnel, whoever it is addressed to
)

// The marks in the ztunnel's pod, under podMarkMask.
const (
	tproxyMark      = 0x400 // TPROXY took it: it is local
	outAnswerMark   = 0x401 // the outbound listener answers: back through the outbound tunnel
	inAnswerMark    = 0x402 // an inbound listener answers: back through the inbound tunnel
	originalSrcMark = 0x4d2 // the ztunnel calls with a pod's address
	podReturnMark   = 0x4d3 // an answer to a call with a pod's address: it is local
	podMarkMask     = 0xfff
)
