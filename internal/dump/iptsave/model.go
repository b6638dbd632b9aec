// SPDX-License-Identifier: Apache-2.0

package iptsave

import "net/netip"

// Save is the output of one iptables-save (or a part of it, as a listing shows).
type Save struct {
	Tables []*Table
	// Version is "1.8.9" and Variant "nf_tables", "legacy" or "", from the
	// comment that opens a table.
	Version, Variant string
	// Notes are the comments that say something about the output's worth, for
	// example "Table `nat' is incompatible, use 'nft' tool." and "iptables-legacy
	// tables present, use iptables-legacy-save to see them".
	Notes []string
	// Omits are the lines where a listing says that it left something out.
	Omits []int

	layout layout // comments, blank lines, missing headers: what printing needs
}

// Table is one table, its chains in the order of their declaration.
type Table struct {
	Name   string // "nat", ...; "" where a listing left the header out and nothing tells
	Chains []*Chain
	Line   int // of its header; 0 where there is none
	// Deduced says why a table without a header is this one ("TPROXY is possible
	// in mangle only"); "" where the header said it.
	Deduced string
	IPv6    bool // saved by ip6tables

	places map[string]int // of chains in Chains, as they were read
	// gap is what stands between * and the name, tail what stands behind it, where
	// somebody wrote the header for iptables-restore.
	gap, tail string
}

// Chain is a chain with its rules in order.
type Chain struct {
	Name     string
	Policy   string    // ACCEPT or DROP of a built-in chain; "" for a user's own
	Counters *Counters // nil where not printed
	Rules    []*Rule
	Line     int // of its declaration; 0 where only its rules are there

	declared declaration
	tail     string // of its declaration's line
}

// Counters are packets and bytes.
type Counters struct{ Packets, Bytes uint64 }

// Rule is one "-A" line.
type Rule struct {
	Chain    string
	Counters *Counters // printed in front of the rule (iptables-save -c)
	// Matches are the conditions in printed order. All must hold.
	Matches []Match
	// Target is what happens then; nil where the rule only counts.
	Target Target
	Line   int

	text string // the line as it was read; printing does not use it
	form ruleForm
}

// Match is one condition: a Protocol, a Source, ... or an Opaque. It holds the
// struct itself, not a pointer to it, and is not changed once it is in a rule:
// equal conditions of several rules may be the same value.
//
// NotAfter, in all of them, tells that the "!" stood behind the option ("-i ! eth0"),
// as versions before 1.4.3 print it.
type Match interface {
	// String prints it as iptables-save does, without a space around it.
	String() string
	match()
}

// The conditions that need no module.
type (
	// Protocol is -p. Name is as printed ("tcp", "6", "esp"); Number is 0 for "all".
	Protocol struct {
		Not, NotAfter bool
		Name          string
		Number        uint8
	}
	// Source is -s; Destination is -d.
	Source struct {
		Not, NotAfter bool
		// Prefix holds the address as printed, host bits included; its length is -1
		// (not valid) where the mask is none of a prefix. Use Addr and Mask then.
		Prefix netip.Prefix
		Addr   netip.Addr
		// Mask is set where the mask is printed as an address: 255.255.255.0 as before
		// 1.4.3, or one that is not a prefix (10.0.0.0/255.0.255.0).
		Mask netip.Addr
		Bare bool // a single address, printed without "/32"
	}
	// Destination is -d.
	Destination Source
	// InInterface is -i, OutInterface -o. A "+" at the end stands for any rest.
	InInterface struct {
		Not, NotAfter bool
		Name          string
	}
	// OutInterface is -o.
	OutInterface InInterface
	// Fragment is -f: second and further fragments.
	Fragment struct{ Not bool }
)

// PortRange is from Low to High, both included.
type PortRange struct{ Low, High uint16 }

// The conditions of modules ("-m NAME ...").
type (
	// Ports is "-m tcp" or "-m udp" (also sctp, dccp): single ranges and, for TCP, flags.
	Ports struct {
		Module                       string // "" where the options stand without "-m"
		Source, Dest                 *PortRange
		NotSource, NotDest, NotAfter bool
		// Flags is --tcp-flags (--syn is printed so, too): of the bits in FlagMask
		// exactly FlagSet are set. FlagMask 0: not asked for.
		FlagMask, FlagSet uint8
		NotFlags          bool
		// Rest are words of this module that are not modelled (--tcp-option ...).
		Rest []string
	}
	// Multiport is "-m multiport --dports 80,443:445".
	Multiport struct {
		Not, NotAfter bool
		Option        string // "sports", "dports", "ports"
		Ranges        []PortRange
	}
	// Mark is "-m mark", on the packet's mark.
	Mark struct {
		Not, NotAfter bool
		Value, Mask   uint32 // Mask is all ones where none is printed
		Wide          bool   // printed with eight digits, as some old versions do
		Decimal       bool   // written so by somebody; the mask is not
	}
	// Connmark is "-m connmark", on the connection's mark.
	Connmark Mark
	// Set is "-m set --match-set NAME src,dst".
	Set struct {
		Not, NotAfter bool
		Name          string
		Directions    []string // "src", "dst", one for each dimension
		Rest          []string // --return-nomatch, --bytes-gt, ...: not modelled
	}
	// Comment is "-m comment --comment ...". Text is unquoted.
	Comment struct {
		Text   string
		Quoted bool // as printed
	}
	// State is "-m conntrack --ctstate" or "-m state --state": NEW, ESTABLISHED,
	// RELATED, INVALID, UNTRACKED, and for conntrack SNAT, DNAT.
	State struct {
		Module        string // "conntrack", "state"
		Not, NotAfter bool
		States        []string // none where only Rest asks
		Rest          []string // further conntrack options, not modelled
	}
	// AddrType is "-m addrtype --src-type LOCAL --dst-type ...".
	AddrType struct {
		Source, Dest       string // "LOCAL", "UNICAST", "BROADCAST", ...; comma-separated; "" not asked for
		NotSource, NotDest bool
		LimitIn, LimitOut  bool
	}
	// Statistic is "-m statistic": a random choice, or every nth packet.
	Statistic struct {
		Mode          string // "random", "nth"
		Not           bool
		Probability   string // as printed, "0.33333333349"
		Every, Packet uint32
	}
	// ICMP is "-m icmp --icmp-type 8/0", or icmp6's.
	ICMP struct {
		Module        string // "icmp", "icmp6"
		Not, NotAfter bool
		Any           bool
		Type          uint8
		Code          *uint8 // nil: any
	}
	// IPRange is "-m iprange --src-range 10.0.0.1-10.0.0.9". Both ends belong to it;
	// zero addresses: not asked for.
	IPRange struct {
		SourceLow, SourceHigh, DestLow, DestHigh netip.Addr
		NotSource, NotDest                       bool
	}
	// PhysDev is "-m physdev": the bridge's port a packet came in or goes out by.
	PhysDev struct {
		In, Out                string // "" not asked for
		NotIn, NotOut          bool
		IsIn, IsOut, IsBridged bool
		NotIsIn, NotIsOut      bool
		NotIsBridged           bool
	}
	// Recent is "-m recent": whether an address was seen lately. What the kernel
	// remembers is not in a dump; with Set the condition always holds.
	Recent struct {
		Not               bool
		Action            string // "set", "rcheck", "update", "remove"
		Seconds, HitCount uint32 // 0: not asked for
		Reap, TTL         bool
		Name              string
		Mask              string // as printed; "" where not
		Dest              bool   // --rdest, not --rsource
	}
	// HashLimit is "-m hashlimit": a rate for each address or port.
	HashLimit struct {
		Above bool   // --hashlimit-above, not -upto
		Rate  string // "20/sec"
		Rest  []string
	}
	// Account is "-m nfacct": it counts under a name, and always holds.
	Account struct{ Name string }
	// CPU is "-m cpu": the processor that handles the packet.
	CPU struct {
		Not bool
		CPU uint32
	}
	// Owner is "-m owner": the sending process's user and group.
	Owner struct {
		UID, GID       string // as printed, "1337" or "100-200"; "" not asked for
		NotUID, NotGID bool
		SocketExists   bool
		NotSocket      bool
		Rest           []string
	}
	// Socket is "-m socket": whether a local socket belongs to the packet.
	Socket struct {
		Transparent, NoWildcard, RestoreMark bool
	}
	// Limit is "-m limit".
	Limit struct {
		Rate  string // "5/min"
		Burst uint32 // 0 not printed
	}
	// Opaque is a module or option that is kept and not understood.
	Opaque struct {
		Module string   // "" for options outside a module
		Words  []string // everything as printed, with the module's "-m NAME" and its "!"
	}
)

// Target is what a rule does: Verdict, Jump, SetMark, ... or OpaqueTarget.
type Target interface {
	String() string // with its "-j" or "-g"
	target()
}

// MarkOp is how a mark is changed. The new mark is (old AND NOT Mask) XOR Value.
// All the forms (set-mark, and-mark, or-mark, xor-mark) are that, and saved so.
type MarkOp struct {
	// Option is "set-xmark" as modern versions print it, or the option that was
	// read ("set-mark", "and-mark", "or-mark", "xor-mark").
	Option string
	// Value and Mask are as in --set-xmark Value/Mask, whatever Option is.
	Value, Mask uint32
	// NoMask: printed without a mask.
	NoMask bool
	// Decimal: written so by somebody, as no iptables-save prints it.
	Decimal bool
}

// Apply is the mark after the operation.
func (o MarkOp) Apply(mark uint32) uint32 { return mark&^o.Mask ^ o.Value }

// The targets.
type (
	// Verdict is ACCEPT, DROP, RETURN, QUEUE.
	Verdict struct{ Name string }
	// Jump goes to a user's chain; with Goto (-g) it does not come back.
	Jump struct {
		Chain string
		Goto  bool
	}
	// SetMark is "-j MARK".
	SetMark struct{ MarkOp }
	// SetConnmark is "-j CONNMARK --set-xmark".
	SetConnmark struct{ MarkOp }
	// SaveMark is "-j CONNMARK --save-mark": connmark = (connmark AND NOT CTMask)
	// XOR (mark AND NFMask).
	SaveMark struct {
		NFMask, CTMask uint32
		NoMasks        bool // printed without
		OneMask        bool // printed as --mask
	}
	// RestoreMark is "-j CONNMARK --restore-mark": mark = (mark AND NOT NFMask)
	// XOR (connmark AND CTMask).
	RestoreMark SaveMark
	// TPROXY gives the packet to a local socket.
	TPROXY struct {
		Port        uint16     // 0: the port stays
		IP          netip.Addr // zero or unspecified: the address of the device the packet came in by
		Value, Mask uint32     // the mark becomes (old AND NOT Mask) XOR Value
		HasMark     bool
		Decimal     bool // Value is written so by somebody
		// Order are the options as printed where that is not --on-port, --on-ip,
		// --tproxy-mark; nil otherwise.
		Order []string
	}
	// NAT is DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP.
	NAT struct {
		Kind string
		// To is as printed: "10.0.0.1-10.0.0.9:80-90", for REDIRECT and MASQUERADE
		// the ports ("15001"); "" where there is none.
		To                string
		Low, High         netip.Addr // zero: the address stays (or is the device's)
		LowPort, HighPort uint16     // 0: the port stays
		ToPort            bool       // written "--to-port", for "--to-ports"
		Rest              []string   // --random, --random-fully, --persistent, ...
	}
	// Log is LOG or NFLOG: the packet goes on.
	Log struct {
		Kind   string
		Prefix string
		Words  []string // everything after "-j LOG" as printed
	}
	// CT decides how a packet is tracked. NoTrack: not at all.
	CT struct {
		Old     bool // "-j NOTRACK"
		NoTrack bool
		Rest    []string // --zone, --helper, ...: not modelled
	}
	// Pass lets the packet go on and changes nothing that its way depends on:
	// TCPMSS, CHECKSUM, TRACE, DSCP, TTL, ...
	Pass struct {
		Name  string
		Words []string // as printed after "-j NAME"
	}
	// Reject drops the packet and tells the sender.
	Reject struct{ With string }
	// OpaqueTarget is kept and not understood.
	OpaqueTarget struct {
		Name  string
		Words []string // as printed after "-j NAME"
	}
)
