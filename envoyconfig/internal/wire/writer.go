// SPDX-License-Identifier: Apache-2.0

package wire

import "crypto/sha256"

// Writer collects pieces. Everything between two calls of Finish shares one
// allocation of exactly the size it needs, and lives as long as any of it. The zero
// value is ready for use; it is for one goroutine.
type Writer struct {
	own      []byte // what is not referred to; reused from one Finish to the next
	record   record // of all pieces, one after the other
	segments []segment
	cuts     []cut
	slices   int   // parts in all segments together
	sizes    []int // of a template's lengths; reused
	err      error
}

// segment is a stretch of own bytes up to end, or a piece that is referred to.
type segment struct {
	end   int
	refer *Parts
}

// cut is the end of a piece.
type cut struct{ segments, record int }

// Refer puts a finished piece, which must stay where and as it is until Finish, at
// the end of the current one.
func (w *Writer) Refer(p *Parts) {
	w.record = w.record.refer(p)
	w.share(p)
}

func (w *Writer) share(p *Parts) {
	if p.Size == 0 {
		return
	}
	w.closeRun()
	w.segments = append(w.segments, segment{end: len(w.own), refer: p})
	w.slices += len(p.Bytes)
}

// closeRun makes a segment of the own bytes since the last.
func (w *Writer) closeRun() {
	if len(w.own) > w.closed() {
		w.segments = append(w.segments, segment{end: len(w.own)})
		w.slices++
	}
}

// closed is up to where own bytes are in segments.
func (w *Writer) closed() int {
	if len(w.segments) == 0 {
		return 0
	}
	return w.segments[len(w.segments)-1].end
}

// Cut ends the current piece and begins the next.
func (w *Writer) Cut() {
	w.closeRun()
	w.cuts = append(w.cuts, cut{segments: len(w.segments), record: len(w.record)})
}

// Finish returns the pieces, in the order in which they were cut; what was written
// after the last Cut is the last piece. It fails if any argument of a template was
// not one that the message could have had. The writer is then ready for other
// pieces.
func (w *Writer) Finish() ([]Parts, error) {
	if n := len(w.cuts); n == 0 || w.cuts[n-1].record < len(w.record) {
		w.Cut()
	}
	defer w.reset()
	if w.err != nil {
		return nil, w.err
	}
	f := finisher{own: make([]byte, len(w.own)), parts: make([][]byte, 0, w.slices)}
	copy(f.own, w.own)
	pieces := make([]Parts, len(w.cuts))
	var from cut
	for i, to := range w.cuts {
		pieces[i] = f.piece(w.segments[from.segments:to.segments])
		pieces[i].Digest = sha256.Sum256(w.record[from.record:to.record])
		from = to
	}
	return pieces, nil
}

// finisher makes pieces of segments.
type finisher struct {
	own   []byte
	parts [][]byte // of all pieces; never grows beyond its capacity
	at    int      // in own
}

func (f *finisher) piece(segments []segment) Parts {
	var p Parts
	first := len(f.parts)
	for _, s := range segments {
		if s.refer != nil {
			f.parts = append(f.parts, s.refer.Bytes...)
			p.Size += s.refer.Size
			continue
		}
		f.parts = append(f.parts, f.own[f.at:s.end:s.end])
		p.Size += s.end - f.at
		f.at = s.end
	}
	p.Bytes = f.parts[first:len(f.parts):len(f.parts)]
	return p
}

func (w *Writer) reset() {
	clear(w.segments) // they would hold on to the pieces
	w.own, w.record, w.segments, w.cuts, w.slices, w.err = w.own[:0], w.record[:0], w.segments[:0], w.cuts[:0], 0, nil
}
