// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

// inbound is the article's inbound listener, and with a change in its last chain.
func inbound(t *testing.T) (now, changed, same *config.Listener) {
	t.Helper()
	d := config.NewDecoder("sds-grpc")
	r, err := proxytest.Article("b")
	if err != nil {
		t.Fatal(err)
	}
	decode := func(old *config.Listener, change bool) *config.Listener {
		for _, m := range r.Listeners {
			if m.GetName() != "ztunnel_inbound" {
				continue
			}
			if change {
				m.FilterChains[1].Name += "-changed"
			}
			body, err := anypb.New(m)
			if err != nil {
				t.Fatal(err)
			}
			l, err := d.ListenerAfter(old, body)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		t.Fatal("no ztunnel_inbound")
		panic("unreachable")
	}
	now = decode(nil, false)
	same = decode(now, false)
	return now, decode(now, true), same
}

// withoutSocket makes a listener one that needs no port.
func withoutSocket(l *config.Listener) *config.Listener {
	l.Addr = netip.AddrPort{}
	return l
}

func TestTunnelsOfChangedChainsAreDrained(t *testing.T) {
	now, changed, same := inbound(t)
	set := NewSet(Options{})
	if err := set.Put(withoutSocket(now), nil, nil); err != nil {
		t.Fatal(err)
	}
	a := set.byName[now.Name]
	before := a.config.Load()
	kept, replaced := now.FindChain(netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("1.1.1.1:1")), now.FindChain(netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("10.4.3.20:15008"))
	enter := func(chain *config.FilterChain) context.Context {
		ctx, leave := a.enter(&connection{config: before}, chain)
		t.Cleanup(leave)
		return ctx
	}
	stays, goes := enter(kept), enter(replaced)

	if err := set.Put(withoutSocket(same), nil, nil); err != nil {
		t.Fatal(err)
	}
	if stays.Err() != nil || goes.Err() != nil {
		t.Error("the same configuration drained a connection")
	}
	if err := set.Put(withoutSocket(changed), nil, nil); err != nil {
		t.Fatal(err)
	}
	if stays.Err() != nil || goes.Err() == nil {
		t.Errorf("unchanged chain: %v, changed chain: %v", stays.Err(), goes.Err())
	}
	// Accepted before the change, through its handshake after it.
	if late := enter(replaced); late.Err() == nil {
		t.Error("a late connection goes on under the old chain")
	}
	if late := enter(kept); late.Err() != nil {
		t.Error("a late connection is drained although its chain stayed")
	}
	set.Remove(now.Name)
	if stays.Err() == nil || enter(kept).Err() == nil {
		t.Error("connections of a removed listener go on taking requests")
	}
}

// A proxy that is told to end serves on while somebody comes or stays, and tells
// tunnels to go elsewhere once nobody comes any more.
func TestFinish(t *testing.T) {
	now, _, _ := inbound(t)
	synctest.Test(t, func(t *testing.T) {
		set := NewSet(Options{})
		defer set.stop()
		if err := set.Put(withoutSocket(now), nil, nil); err != nil {
			t.Fatal(err)
		}
		a := set.byName[now.Name]
		ctx, leave := a.enter(&connection{config: a.config.Load()}, now.FindChain(netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("10.4.3.20:15008")))
		defer leave()
		conn, _ := netio.Pair()
		set.conns.add(conn)

		start := time.Now()
		ended := make(chan struct{})
		go func() {
			set.Finish(time.Minute)
			close(ended)
		}()
		for range 30 { // they keep coming
			<-time.After(time.Second)
			set.latest.Store(time.Now().UnixNano())
		}
		if ctx.Err() != nil {
			t.Error("the tunnel was told to go while connections still came")
		}
		<-time.After(quiet + 2*lookAgain)
		if ctx.Err() == nil {
			t.Error("the tunnel was not told to go")
		}
		select {
		case <-ended:
			t.Error("it ended with a connection open")
		default:
		}
		set.conns.remove(conn)
		<-ended
		if took := time.Since(start); took > 33*time.Second {
			t.Errorf("it ended after %v", took)
		}

		set.conns.add(conn)
		start = time.Now()
		set.Finish(5 * time.Second)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("with a connection that stays it ended after %v", took)
		}
	})
}
