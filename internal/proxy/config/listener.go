// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/match"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/strict"
)

// Listener is a listener ready to be executed.
type Listener struct {
	Name           string
	Addr           netip.AddrPort // zero: an internal listener
	StatPrefix     string         // between "listener." and the counter's name
	Transparent    bool
	UseOriginalDst bool // hand over to the listener of the restored address
	SocketOptions  []netio.SocketOption
	Filters        []ListenerFilter
	AccessLogs     []*accesslog.Format

	tree     *match.Node // nil: prefixes decide
	byName   map[string]*FilterChain
	prefixes match.Prefixes[*FilterChain]
	fallback *FilterChain   // the default_filter_chain
	all      []*FilterChain // with the fallback
	known    map[digest]*FilterChain
}

// FilterKind is what a listener filter does.
type FilterKind int

// The listener filters.
const (
	OriginalDst      FilterKind = iota // restores the destination before redirection
	OriginalSrc                        // upstream connections come from the downstream's address
	SetDstAddress                      // takes the addresses from the metadata "tunnel"
	WorkloadMetadata                   // who is the source; comes over ADS
)

// ListenerFilter is one of a listener's filters, in order.
type ListenerFilter struct {
	Kind      FilterKind
	Mark      uint32       // OriginalSrc: SO_MARK of upstream connections
	Discovery ExtensionRef // WorkloadMetadata
}

// Internal reports whether the listener takes in-process connections.
func (l *Listener) Internal() bool { return !l.Addr.IsValid() }

// FindChain is the chain for a connection, and nil where there is none: nothing
// matched and there is no default, or the match names a chain that is not there.
func (l *Listener) FindChain(src, dst netip.AddrPort) *FilterChain {
	if l.tree != nil {
		if name, ok := l.tree.Find(src, dst); ok {
			return l.byName[name]
		}
		return l.fallback
	}
	if chain, ok := l.prefixes.Find(dst.Addr()); ok {
		return chain
	}
	return l.fallback
}

// Has reports whether the chain is one of the listener's.
func (l *Listener) Has(chain *FilterChain) bool { return slices.Contains(l.all, chain) }

// Secrets are the secrets that the listener's chains need, each once.
func (l *Listener) Secrets() []SecretRef {
	var refs []SecretRef
	seen := make(map[string]bool)
	for _, chain := range l.all {
		if chain.TLS == nil {
			continue
		}
		for _, ref := range chain.TLS.secrets() {
			if !seen[ref.Name] {
				seen[ref.Name] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// Extensions are the filter configurations that the listener takes over ADS.
func (l *Listener) Extensions() []ExtensionRef {
	var refs []ExtensionRef
	for _, f := range l.Filters {
		if f.Kind == WorkloadMetadata {
			refs = append(refs, f.Discovery)
		}
	}
	return refs
}

// Listener decodes a listener.
func (d *Decoder) Listener(body *anypb.Any) (*Listener, error) {
	return d.ListenerAfter(nil, body)
}

// ListenerAfter decodes a listener's next version. Chains that are in old, too,
// are taken over from there: of many chains few change at a time. old is what this
// Decoder made of an earlier version, or nil.
func (d *Decoder) ListenerAfter(old *Listener, body *anypb.Any) (*Listener, error) {
	var m listenerv3.Listener
	if err := typed(body, &m); err != nil {
		return nil, err
	}
	rest, chains, err := pieces(body.GetValue())
	if err != nil {
		return nil, err
	}
	c := &chainDecoder{Decoder: d, check: strict.NewChecker(d.schema)}
	if old != nil {
		c.known = old.known
	}
	if err := read(rest, &m, c.check); err != nil {
		return nil, err
	}
	l := &Listener{
		Name:           m.GetName(),
		StatPrefix:     m.GetStatPrefix(),
		Transparent:    m.GetTransparent().GetValue(),
		UseOriginalDst: m.GetUseOriginalDst().GetValue(),
		byName:         make(map[string]*FilterChain),
		known:          make(map[digest]*FilterChain),
	}
	if l.Name == "" {
		return nil, errors.New("name: is missing")
	}
	if err := l.address(&m); err != nil {
		return nil, err
	}
	if l.Filters, err = listenerFilters(m.GetListenerFilters()); err != nil {
		return nil, err
	}
	if l.AccessLogs, err = c.accessLogs(m.GetAccessLog()); err != nil {
		return nil, err
	}
	if err := l.addChains(c, &m, chains); err != nil {
		return nil, err
	}
	if err := l.onlyBytes(); err != nil {
		return nil, err
	}
	return l, nil
}

// onlyBytes refuses what an in-process connection cannot carry here.
func (l *Listener) onlyBytes() error {
	if !l.Internal() {
		return nil
	}
	for _, chain := range l.all {
		if chain.TLS != nil {
			return fmt.Errorf("filter chain %q: transport_socket: TLS is not supported in an internal listener", chain.Name)
		}
		if chain.HTTP != nil {
			return fmt.Errorf("filter chain %q: the HTTP connection manager is not supported in an internal listener", chain.Name)
		}
	}
	return nil
}

func (l *Listener) address(m *listenerv3.Listener) error {
	if m.GetInternalListener() != nil {
		if m.GetAddress() != nil || l.Transparent || len(m.GetSocketOptions()) > 0 {
			return errors.New("internal_listener: an internal listener has no address and no socket options")
		}
		if l.UseOriginalDst {
			return errors.New("use_original_dst: an internal listener hands no connection over")
		}
		if l.StatPrefix == "" {
			l.StatPrefix = "envoy_internal_" + l.Name
		}
		return nil
	}
	sa := m.GetAddress().GetSocketAddress()
	if sa == nil {
		return errors.New("address: only socket_address and internal_listener are supported")
	}
	var err error
	if l.Addr, err = socketAddress(sa); err != nil {
		return in(err, "address.socket_address")
	}
	if l.StatPrefix == "" {
		l.StatPrefix = l.Addr.Addr().String() + "_" + fmt.Sprint(l.Addr.Port())
	}
	l.SocketOptions = socketOptions(m.GetSocketOptions())
	return nil
}

func socketOptions(options []*corev3.SocketOption) []netio.SocketOption {
	var out []netio.SocketOption
	for _, o := range options {
		out = append(out, netio.SocketOption{Level: int(o.GetLevel()), Name: int(o.GetName()), Value: int(o.GetIntValue())})
	}
	return out
}

func listenerFilters(filters []*listenerv3.ListenerFilter) ([]ListenerFilter, error) {
	var out []ListenerFilter
	for i, m := range filters {
		f, err := listenerFilter(m)
		if err != nil {
			return nil, in(err, "listener_filters[%d]", i)
		}
		out = append(out, f)
	}
	return out, nil
}

func listenerFilter(m *listenerv3.ListenerFilter) (ListenerFilter, error) {
	if m.GetConfigDiscovery() != nil {
		return discovered(m)
	}
	msg, err := m.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return ListenerFilter{}, in(err, "typed_config")
	}
	switch t := msg.(type) {
	case *originaldstv3.OriginalDst:
		return ListenerFilter{Kind: OriginalDst}, nil
	case *originalsrcv3.OriginalSrc:
		return ListenerFilter{Kind: OriginalSrc, Mark: t.GetMark()}, nil
	case *xdstypev3.TypedStruct:
		return ListenerFilter{Kind: SetDstAddress}, nil
	}
	return ListenerFilter{}, fmt.Errorf("typed_config: type %q is not supported here", m.GetTypedConfig().GetTypeUrl())
}

func discovered(m *listenerv3.ListenerFilter) (ListenerFilter, error) {
	src := m.GetConfigDiscovery()
	if t := src.GetTypeUrls(); len(t) != 1 || t[0] != workloadMetadataType {
		return ListenerFilter{}, fmt.Errorf("config_discovery.type_urls: %q is not supported, only %s", t, workloadMetadataType)
	}
	timeout, err := ads(src.GetConfigSource())
	if err != nil {
		return ListenerFilter{}, in(err, "config_discovery.config_source")
	}
	return ListenerFilter{Kind: WorkloadMetadata, Discovery: ExtensionRef{Name: m.GetName(), Timeout: timeout}}, nil
}

func (l *Listener) addChains(c *chainDecoder, m *listenerv3.Listener, chains [][]byte) error {
	var err error
	if m.GetFilterChainMatcher() != nil {
		if l.tree, err = tree(m.GetFilterChainMatcher()); err != nil {
			return in(err, "filter_chain_matcher")
		}
	}
	for i, piece := range chains {
		if err := l.addPiece(c, piece); err != nil {
			return in(err, "filter_chains[%d]", i)
		}
	}
	if m.GetDefaultFilterChain() == nil {
		if len(chains) == 0 {
			return errors.New("filter_chains: there is none")
		}
		return nil
	}
	if len(m.GetDefaultFilterChain().GetFilterChainMatch().GetPrefixRanges()) > 0 {
		return errors.New("default_filter_chain.filter_chain_match: is not supported here")
	}
	if l.fallback, err = c.chain(m.GetDefaultFilterChain()); err != nil {
		return in(err, "default_filter_chain")
	}
	l.all = append(l.all, l.fallback)
	return nil
}

// addPiece adds a chain in its wire form.
func (l *Listener) addPiece(c *chainDecoder, piece []byte) error {
	sum := c.hash.digest(piece)
	chain := c.known[sum]
	if chain == nil {
		var m listenerv3.FilterChain
		if err := read(piece, &m, c.check); err != nil {
			return err
		}
		var err error
		if chain, err = c.chain(&m); err != nil {
			return err
		}
	}
	l.known[sum] = chain
	return l.addChain(chain)
}

func (l *Listener) addChain(chain *FilterChain) error {
	l.all = append(l.all, chain)
	if l.tree != nil {
		if len(chain.prefixes) > 0 {
			return errors.New("filter_chain_match: has no effect beside a filter_chain_matcher")
		}
		if chain.Name == "" {
			return errors.New("name: is missing, the filter_chain_matcher could not name this chain")
		}
		if l.byName[chain.Name] != nil {
			return fmt.Errorf("name: two chains are called %q", chain.Name)
		}
		l.byName[chain.Name] = chain
		return nil
	}
	if len(chain.prefixes) == 0 {
		return l.prefixes.Add(netip.Prefix{}, chain)
	}
	for i, p := range chain.prefixes {
		if err := l.prefixes.Add(p, chain); err != nil {
			return in(err, "filter_chain_match.prefix_ranges[%d]", i)
		}
	}
	return nil
}

func prefix(r *corev3.CidrRange) (netip.Prefix, error) {
	ip, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return netip.Prefix{}, in(err, "address_prefix")
	}
	p := netip.PrefixFrom(ip, int(r.GetPrefixLen().GetValue()))
	if !ip.Is4() || !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%s/%d is not an IPv4 prefix", ip, r.GetPrefixLen().GetValue())
	}
	return p, nil
}
