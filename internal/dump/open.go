// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"fmt"
	"strings"
)

// Open reads one node's dump: an archive (.tar.gz or folder) that ambientctl dump
// wrote, a folder of loose texts, or one text; "-" is the standard input. An
// error in a text is a *syntax.Error that names the file.
func Open(path string) (*Node, error) {
	nodes, err := OpenAll(path)
	if err != nil {
		return nil, err
	}
	if len(nodes) > 1 {
		var names []string
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		return nil, fmt.Errorf("reading %s: it has %d nodes (%s), and one is needed", path, len(nodes), strings.Join(names, ", "))
	}
	return nodes[0], nil
}

// OpenAll reads the dumps of all nodes that are there: those of Open, a folder or
// .tar.gz with one archive for each node, or loose texts of several nodes, which
// the words in the files' names tell apart ("node-a", "ztunnel-b"). It
// returns at least one node.
func OpenAll(path string) ([]*Node, error) {
	t, err := readTree(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	nodes, err := t.nodes()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return nodes, nil
}

func (t *tree) nodes() ([]*Node, error) {
	archives, err := t.archives()
	if err != nil {
		return nil, err
	}
	if len(archives) == 0 {
		return t.loose()
	}
	var nodes []*Node
	for _, a := range archives {
		n, err := a.Parse()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
