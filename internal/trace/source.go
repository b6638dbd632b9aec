// SPDX-License-Identifier: Apache-2.0

package trace

// validateSource asks whether a packet with this source may come in by its
// device (RFC 1812 section 5.3.8 and rp_filter). towards is the device it would be
// forwarded to, "" for local delivery. It ends the walk as Martian where not.
func (r *run) validateSource(dst uint32, towards string) bool {
	d := r.s.device(r.h.in)
	c := d.conf
	why, res := r.checkSource(d, c, dst, towards)
	if r.done {
		return false
	}
	if r.guesses(d, dst, towards, why == ""); r.done {
		return false
	}
	if r.record {
		st := r.step(StepFilter)
		st.Matched, st.Note = why == "", why
		if res.route != nil {
			st.Route, st.TableID = res.route.src, res.table
		}
	}
	if why != "" {
		r.end(Martian)
		return false
	}
	return true
}

// guesses tells of each missing sysctl that would change what was found.
func (r *run) guesses(d *device, dst uint32, towards string, passed bool) {
	for _, guess := range []struct {
		setting setting
		set     func(c *conf)
	}{
		{d.conf.rpFilter, func(c *conf) { c.rpFilter.value = max(c.rpFilter.value, 1) }},
		{d.conf.acceptLocal, func(c *conf) { c.acceptLocal.value = 1 }},
	} {
		if guess.setting.guessed == "" {
			continue
		}
		other := d.conf
		guess.set(&other)
		if why, _ := r.checkSource(d, other, dst, towards); !r.done && (why == "") != passed {
			r.missing(guess.setting)
		}
	}
}

// missing tells of a sysctl that decides and is not in the dump.
func (r *run) missing(v setting) {
	r.doubt("the sysctl " + v.guessed + " is not in the dump; the kernel's default 0 is taken, and it decides")
}

// checkSource is fib_validate_source. why is "" where the source is good.
func (r *run) checkSource(d *device, c conf, dst uint32, towards string) (why string, _ result) {
	s, h := r.s, &r.h
	rp := c.rpFilter.value
	if rp == 0 && (d.name != towards || !c.redirects.on()) {
		if c.acceptLocal.on() {
			return "", result{}
		}
		if !s.customLocals && !s.customRules {
			if _, own := s.locals[h.src]; own {
				return sourceOwn, result{}
			}
			return "", result{}
		}
	}
	// The way back is looked up as if it were sent from here, or came in by the
	// device that the packet leaves by.
	fl := r.dissected()
	fl.src, fl.dst, fl.sport, fl.dport = dst, h.src, fl.dport, fl.sport
	fl.iif, fl.mark = towards, 0
	if towards == "" {
		fl.iif = loopback
	}
	if c.srcValidMark.on() {
		fl.mark = h.mark
	}
	res := r.lookup(&fl, false)
	switch {
	case res.kind == foundUnknown:
		return "", res
	case res.kind != foundRoute:
		return lastResort(rp), res
	case res.route.typ == typeLocal && !c.acceptLocal.on():
		return sourceOwn, res
	case res.route.typ != typeUnicast && res.route.typ != typeLocal:
		return sourceNoHost, res
	case res.route.usesDev(d.name), res.route.typ == typeLocal && d.name == loopback:
		return "", res
	case d.link != nil && len(d.addrs) == 0:
		return lastResort(rp), res
	case rp == 1:
		return sourceStrict, res
	}
	return "", res
}

// The reasons why a source is refused.
const (
	sourceOwn    = "the source is one of this namespace's own addresses, and accept_local is off"
	sourceNoHost = "the source is no host's address by the routes"
	sourceStrict = "rp_filter is 1 and the way back to the source is not this device"
	sourceNoWay  = "rp_filter is on and there is no way back to the source"
)

func lastResort(rp int) string {
	if rp != 0 {
		return sourceNoWay
	}
	return ""
}

// What -m rpfilter asks for, in a cond's a.
const (
	reverseLoose uint32 = 1 << iota
	reverseMark
	reverseLocal
)

// reverseFits is -m rpfilter: the way back to the source is the device that the
// packet came in by.
func (r *run) reverseFits(options uint32) bool {
	h := &r.h
	if r.isLoopback(h.in) || h.src == 0 && isBroadcast(h.dst) {
		return true
	}
	fl := flow{src: h.dst, dst: h.src, tos: h.tos, iif: loopback, anyLink: true}
	if isMulticast(h.dst) || isBroadcast(h.dst) {
		fl.src = 0
	}
	if options&reverseMark != 0 {
		fl.mark = h.mark
	}
	res := r.lookup(&fl, false)
	if res.kind != foundRoute {
		return false
	}
	if typ := res.route.typ; typ != typeUnicast && (typ != typeLocal || options&reverseLocal == 0) {
		return false
	}
	return res.route.usesDev(h.in) || options&reverseLoose != 0
}
