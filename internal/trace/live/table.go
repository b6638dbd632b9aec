// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The tracer's own table. It belongs to the socket that made it: the kernel removes
// it when the process ends, however that happens.
const (
	tablePrefix = "ambient22-trace-"
	// tableOwner is NFT_TABLE_F_OWNER (Linux 5.12).
	tableOwner = 0x2
	// atStart is before iptables' raw table and after defragmentation, where a packet
	// begins to be traced.
	atStart = -350
)

// observers are the places between iptables' tables where the tracer asks for the
// connection's mark and state: behind raw and connection tracking (-200), mangle
// (-150), nat's destinations (-100), filter (0) and nat's sources (100).
var observers = [...]struct {
	hook       uint32
	priorities []int32
}{
	{hookPrerouting, []int32{atStart, -175, -125, -75}},
	{hookInput, []int32{-175, -125, 25, 125}},
	{hookForward, []int32{-175, -125, 25}},
	{hookOutput, []int32{atStart, -175, -125, -75, 25}},
	{hookPostrouting, []int32{-175, -125, 125}},
}

// Chains of the table that are no hook's.
const (
	chainPick   = "pick"         // decides which packets are traced
	chainDirect = "pick-direct"  // those that are the flow's
	chainInner  = "pick-tunnels" // those that carry them
	chainSeen   = "seen"         // says what connection tracking knows
)

// observerName is the name of a hook's chain, which observerOf reads back.
func observerName(hook uint32, priority int32) string {
	return fmt.Sprintf("at-%d%+d", hook, priority)
}

// observerOf is the place of a chain of the tracer's table.
func observerOf(chain string) (hook int8, priority int32, ok bool) {
	rest, ok := strings.CutPrefix(chain, "at-")
	if !ok || len(rest) < 2 || rest[0] < '0' || rest[0] > '4' {
		return -1, 0, false
	}
	n, err := strconv.ParseInt(rest[1:], 10, 32)
	return hookOf(rest[0] - '0'), int32(n), err == nil
}

// table is the tracer's table in one namespace.
type table struct {
	name string
	conn *nftables.Conn
	// bits, states and reply are the handles of the rules in chainSeen.
	bits   map[uint64]uint32
	states map[uint64]uint32
	reply  uint64
}

// addTable puts the tracer's table into the namespace the thread is in.
func addTable(f *Filter) (*table, error) {
	t := &table{name: tablePrefix + strconv.Itoa(os.Getpid())}
	var err error
	t.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(t.create))
	if err != nil {
		return nil, fmt.Errorf("making the table %s: %w", t.name, err)
	}
	if err := t.fill(f); err != nil {
		return nil, errors.Join(fmt.Errorf("filling the table %s: %w", t.name, err), t.remove())
	}
	return t, nil
}

// create makes the table by the very socket that fills it later, for it is the
// table's owner. The library cannot ask for an owner itself.
func (t *table) create(c *netlink.Conn) error {
	// The kernel answers every message of the batch that follows.
	if err := c.SetReadBuffer(listenBuffer); err != nil {
		return err
	}
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: []byte(t.name + "\x00")},
		{Type: unix.NFTA_TABLE_FLAGS, Data: []byte{0, 0, 0, tableOwner}},
	})
	if err != nil {
		return err
	}
	_, err = c.SendMessages([]netlink.Message{
		batchMark(unix.NFNL_MSG_BATCH_BEGIN),
		{
			Header: netlink.Header{
				Type:  netlink.HeaderType(subsystemTables<<8 | unix.NFT_MSG_NEWTABLE),
				Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, attrs...),
		},
		batchMark(unix.NFNL_MSG_BATCH_END),
	})
	if err != nil {
		return err
	}
	_, err = c.Receive()
	return err
}

func batchMark(kind uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   []byte{0, 0, 0, subsystemTables},
	}
}

// remove takes the table away by letting go of it.
func (t *table) remove() error {
	if err := t.conn.CloseLasting(); err != nil {
		return fmt.Errorf("removing the table %s: %w", t.name, err)
	}
	return nil
}

// batch is the table while it is being filled.
type batch struct {
	*table
	self *nftables.Table
	err  error
}

func (t *table) fill(f *Filter) error {
	b := &batch{table: t, self: &nftables.Table{Name: t.name, Family: nftables.TableFamilyIPv4}}
	near := end{set: b.addresses("near", f.Near)}
	far := end{set: b.addresses("far", f.Far), ports: b.ports(f.Ports)}
	b.pick(f, near, far)
	b.seen(f)
	for _, o := range observers {
		for _, priority := range o.priorities {
			b.observer(f, near, far, o.hook, priority)
		}
	}
	if b.err != nil {
		return b.err
	}
	if err := t.conn.Flush(); err != nil {
		return err
	}
	if f.Untracked {
		return nil
	}
	return t.learn(b.self)
}

// perMessage keeps the elements of one message below the 64 KiB of an attribute.
const perMessage = 500

func (b *batch) addresses(name string, addrs []netip.Addr) *nftables.Set {
	var elements []nftables.SetElement
	for _, a := range addrs {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return b.set(&nftables.Set{Table: b.self, Name: name, KeyType: nftables.TypeIPAddr}, elements)
}

func (b *batch) ports(ports []uint16) *nftables.Set {
	var elements []nftables.SetElement
	for _, p := range ports {
		elements = append(elements, nftables.SetElement{Key: []byte{byte(p >> 8), byte(p)}})
	}
	return b.set(&nftables.Set{Table: b.self, Name: "ports", KeyType: nftables.TypeInetService}, elements)
}

func (b *batch) set(s *nftables.Set, elements []nftables.SetElement) *nftables.Set {
	b.err = errors.Join(b.err, b.conn.AddSet(s, nil))
	for some := range slices.Chunk(elements, perMessage) {
		b.err = errors.Join(b.err, b.conn.SetAddElements(s, some))
	}
	return s
}

func (b *batch) chain(name string) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.self})
}

func (b *batch) rule(c *nftables.Chain, parts ...[]expr.Any) {
	b.conn.AddRule(&nftables.Rule{Table: b.self, Chain: c, Exprs: slices.Concat(parts...)})
}

// pick fills the chains that choose packets and turn their trace on.
func (b *batch) pick(f *Filter, near, far end) {
	direct, inner, pick := b.chain(chainDirect), b.chain(chainInner), b.chain(chainPick)
	b.limits(f, direct, 0)
	b.rule(pick, f.matches(near, far), []expr.Any{verdict(expr.VerdictGoto, chainDirect)})
	b.rule(pick, f.matches(far, near), []expr.Any{verdict(expr.VerdictGoto, chainDirect)})
	if f.TunnelPort == 0 {
		return
	}
	b.limits(f, inner, innerAt+ipv4Header)
	b.rule(pick, f.carries(near, far), []expr.Any{verdict(expr.VerdictGoto, chainInner)})
	b.rule(pick, f.carries(far, near), []expr.Any{verdict(expr.VerdictGoto, chainInner)})
}

// limits fills a chain that turns the trace on, so often and no oftener.
func (b *batch) limits(f *Filter, c *nftables.Chain, transport uint32) {
	if f.Protocol == protoTCP {
		// The rule must not end the chain itself: older kernels tell nothing of one
		// that turns the trace on and returns.
		b.rule(c, opening(transport), []expr.Any{limited(openingRate, openingBurst)}, traceOn())
		b.rule(c, opening(transport), []expr.Any{verdict(expr.VerdictReturn, "")})
	}
	b.rule(c, []expr.Any{limited(otherRate, otherBurst)}, traceOn())
}

// seen fills the chain whose rules match one by one what connection tracking says.
func (b *batch) seen(f *Filter) {
	c := b.chain(chainSeen)
	if f.Untracked {
		return
	}
	for _, state := range connStates() {
		b.rule(c, connState(state))
	}
	b.rule(c, connReply())
	for bit := range 32 {
		b.rule(c, connmarkBit(bit))
	}
}

func connStates() []uint32 {
	return []uint32{stateInvalid, stateEstablished, stateRelated, stateNew, stateUntracked}
}

func (b *batch) observer(f *Filter, near, far end, hook uint32, priority int32) {
	policy := nftables.ChainPolicyAccept
	c := b.conn.AddChain(&nftables.Chain{
		Name: observerName(hook, priority), Table: b.self, Type: nftables.ChainTypeFilter,
		Hooknum: chainHook(hook), Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)), Policy: &policy,
	})
	if priority == atStart {
		b.rule(c, []expr.Any{verdict(expr.VerdictJump, chainPick)})
		return
	}
	ways := [][]expr.Any{f.matches(near, far), f.matches(far, near)}
	if f.TunnelPort != 0 {
		ways = append(ways, f.carries(near, far), f.carries(far, near))
	}
	for _, way := range ways {
		b.rule(c, way, []expr.Any{verdict(expr.VerdictGoto, chainSeen)})
	}
}

// learn reads which handles the kernel gave to the rules of chainSeen, which are
// there in the order in which seen adds them.
func (t *table) learn(self *nftables.Table) error {
	rules, err := t.conn.GetRules(self, &nftables.Chain{Name: chainSeen, Table: self})
	if err != nil {
		return err
	}
	states := connStates()
	if len(rules) != len(states)+1+bits.UintSize/2 {
		return fmt.Errorf("the kernel lists %d rules of %s", len(rules), chainSeen)
	}
	t.bits, t.states = map[uint64]uint32{}, map[uint64]uint32{}
	for i, r := range rules {
		switch {
		case i < len(states):
			t.states[r.Handle] = states[i]
		case i == len(states):
			t.reply = r.Handle
		default:
			t.bits[r.Handle] = 1 << (i - len(states) - 1)
		}
	}
	return nil
}
