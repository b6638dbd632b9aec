// SPDX-License-Identifier: Apache-2.0

package listing

// Status is the outcome of one comparison.
type Status string

// The outcomes. Reproduced includes listings with a corrected slip; the result
// says so.
const (
	Reproduced Status = "reproduced"
	Differs    Status = "differs"
	Failed     Status = "failed" // the command gave nothing to compare
)

// Result is what comparing one listing gave.
type Result struct {
	Number int    `json:"number"`
	Host   string `json:"host"`
	Title  string `json:"title"`
	Status Status `json:"status"`

	// Detail says what is not as in the listing; empty where nothing is.
	Detail string `json:"detail,omitempty"`
	// Slips are the article's slips that were corrected before comparing.
	Slips []Slip `json:"slips,omitempty"`
	// TablesMoved says that iptables-save prints whole tables in another order
	// than the listing; its nf_tables variant has a fixed one, mangle before nat.
	TablesMoved bool `json:"tables_moved,omitempty"`
	// More are JSON fields that the system has and the listing does not show.
	More []string `json:"more,omitempty"`
	// Substituted maps the listing's device names to the running system's.
	Substituted map[string]string `json:"substituted,omitempty"`
	// Output is what the system printed: the command's text, or the entry of
	// the config_dump.
	Output string `json:"output,omitempty"`
}

func (l *Listing) result(output string) Result {
	return Result{Number: l.Number, Host: l.Host, Title: l.Title(), Slips: l.Slips, Output: output}
}

// Fail is the result of a listing whose command failed.
func (l *Listing) Fail(err error) Result {
	r := l.result("")
	r.Status, r.Detail = Failed, err.Error()
	return r
}
