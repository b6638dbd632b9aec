// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"time"

	"golang.org/x/net/http2"
)

// onSettings applies the peer's SETTINGS and confirms them.
func (c *conn) onSettings(f *http2.SettingsFrame) error {
	first := !c.sawSettings
	c.sawSettings = true
	if !first {
		if err := c.spend("SETTINGS frames"); err != nil {
			return err
		}
	}
	if f.IsAck() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ackedOurs = true
		return nil
	}
	if err := c.applySettings(f, first); err != nil {
		return err
	}
	return c.reply(func() { c.wfr.WriteSettingsAck() })
}

func (c *conn) applySettings(f *http2.SettingsFrame, first bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	if first {
		c.nc.SetReadDeadline(time.Time{})
		c.knowsPeer = true
		c.peer.streams = 1<<32 - 1 // no limit unless SETTINGS set one
	}
	if err := f.ForeachSetting(c.applySetting); err != nil {
		return err
	}
	if c.onRemove != nil {
		c.onRemove() // more streams may be allowed now
	}
	c.pump()
	return nil
}

// applySetting sets one value. Values for which we have no use are only
// checked; unknown ones are ignored (RFC 9113 section 6.5.2).
func (c *conn) applySetting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.hpackEnc.SetMaxDynamicTableSize(s.Val)
	case http2.SettingEnablePush:
		if !c.server && s.Val != 0 {
			return protocolError("a server must not enable push")
		}
	case http2.SettingMaxConcurrentStreams:
		c.peer.streams = s.Val
	case http2.SettingInitialWindowSize:
		return c.resizeWindows(int64(s.Val))
	case http2.SettingMaxFrameSize:
		c.peer.frameSize = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		c.peer.headerBytes = uint64(s.Val)
	}
	return nil
}

// resizeWindows moves the windows of all open streams by the difference, which
// may make them negative (RFC 9113 section 6.9.2).
func (c *conn) resizeWindows(size int64) error {
	delta := size - c.peer.initialWindow
	c.peer.initialWindow = size
	for _, s := range c.streams {
		if s.sendWindow+delta > maxWindow {
			return &ConnError{Code: http2.ErrCodeFlowControl, Reason: "initial window makes a stream's too large"}
		}
		c.widen(s, delta)
	}
	return nil
}
