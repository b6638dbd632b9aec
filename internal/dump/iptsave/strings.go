// SPDX-License-Identifier: Apache-2.0

package iptsave

// printed is a part of a rule: it appends itself as iptables-save prints it.
type printed interface{ appendTo([]byte) []byte }

func text(p printed) string { return string(p.appendTo(nil)) }

// String prints the condition as iptables-save does.
func (m Protocol) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Source) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Destination) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m InInterface) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m OutInterface) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Fragment) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Ports) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Multiport) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Mark) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Connmark) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Set) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Comment) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m State) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m AddrType) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Statistic) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m ICMP) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m IPRange) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m PhysDev) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Recent) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m HashLimit) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Account) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m CPU) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Owner) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Socket) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Limit) String() string { return text(m) }

// String prints the condition as iptables-save does.
func (m Opaque) String() string { return text(m) }

// String prints the target as iptables-save does.
func (t Verdict) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t Jump) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t SetMark) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t SetConnmark) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t SaveMark) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t RestoreMark) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t TPROXY) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t NAT) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t Log) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t CT) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t Pass) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t Reject) String() string { return text(t) }

// String prints the target as iptables-save does.
func (t OpaqueTarget) String() string { return text(t) }

func (Protocol) match()     {}
func (Source) match()       {}
func (Destination) match()  {}
func (InInterface) match()  {}
func (OutInterface) match() {}
func (Fragment) match()     {}
func (Ports) match()        {}
func (Multiport) match()    {}
func (Mark) match()         {}
func (Connmark) match()     {}
func (Set) match()          {}
func (Comment) match()      {}
func (State) match()        {}
func (AddrType) match()     {}
func (Statistic) match()    {}
func (ICMP) match()         {}
func (IPRange) match()      {}
func (PhysDev) match()      {}
func (Recent) match()       {}
func (HashLimit) match()    {}
func (Account) match()      {}
func (CPU) match()          {}
func (Owner) match()        {}
func (Socket) match()       {}
func (Limit) match()        {}
func (Opaque) match()       {}

func (Verdict) target()      {}
func (Jump) target()         {}
func (SetMark) target()      {}
func (SetConnmark) target()  {}
func (SaveMark) target()     {}
func (RestoreMark) target()  {}
func (TPROXY) target()       {}
func (NAT) target()          {}
func (Log) target()          {}
func (CT) target()           {}
func (Pass) target()         {}
func (Reject) target()       {}
func (OpaqueTarget) target() {}
