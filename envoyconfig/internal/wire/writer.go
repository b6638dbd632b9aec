// SPDX-License-Identifier: Apache-2.0

package wire

// Writer collects pieces. Everything between two calls of Finish shares one
// allocation of exactly the size it needs, and lives as long as any of it. The zero
// value is ready for use; it is for one goroutine.
type Writer struct {
	own      []byte // what is not referred to; reused from one Finish to the next
	segments []segment
	cuts     []int // end of each piece in segments
	slices   int   // parts in all segments together
	sizes    []int // of a template's lengths; reused
	digester *digester
	err      error
}

// segment is a stretch of own bytes up to end, or a piece that is referred to.
type segment struct {
	end   int
	refer *Parts
}

// Refer puts a finished piece, which must stay where and as it is until Finish, at
// the end of the current one.
func (w *Writer) Refer(p *Parts) {
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
	w.cuts = append(w.cuts, len(w.segments))
}

// Finish returns the pieces, in the order in which they were cut; bytes after the
// last Cut are the last piece. It fails if any argument of a template was not one
// that the message could have had. The writer is then ready for other pieces.
func (w *Writer) Finish() ([]Parts, error) {
	w.closeRun()
	if n := len(w.cuts); n == 0 || w.cuts[n-1] < len(w.segments) {
		w.cuts = append(w.cuts, len(w.segments))
	}
	defer w.reset()
	if w.err != nil {
		return nil, w.err
	}
	if w.digester == nil {
		w.digester = newDigester()
	}
	own := make([]byte, len(w.own))
	copy(own, w.own)
	list := make([][]byte, 0, w.slices)
	pieces := make([]Parts, len(w.cuts))
	from, at := 0, 0
	for i, cut := range w.cuts {
		p := &pieces[i]
		first := len(list)
		for _, s := range w.segments[from:cut] {
			if s.refer != nil {
				list = append(list, s.refer.Bytes...)
				p.Size += s.refer.Size
				w.digester.refer(s.refer)
				continue
			}
			run := own[at:s.end:s.end]
			list = append(list, run)
			p.Size += len(run)
			w.digester.write(run)
			at = s.end
		}
		p.Bytes = list[first:len(list):len(list)]
		p.Digest = w.digester.sum()
		from = cut
	}
	return pieces, nil
}

func (w *Writer) reset() {
	clear(w.segments) // they would hold on to the pieces
	w.own, w.segments, w.cuts, w.slices, w.err = w.own[:0], w.segments[:0], w.cuts[:0], 0, nil
}
