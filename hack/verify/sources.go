// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const licenceLine = "// SPDX-License-Identifier: Apache-2.0\n"

// checkSources parses every Go file of the module.
func checkSources(root string) ([]string, error) {
	folders := make(map[string][]*ast.File) // production files by folder
	var faults []string
	files := token.NewFileSet()
	err := walk(root, ".go", func(path string, text []byte) error {
		if !bytes.HasPrefix(text, []byte(licenceLine)) {
			faults = append(faults, path+":1: first line is not "+strings.TrimSpace(licenceLine))
		}
		f, err := parser.ParseFile(files, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parsing %s: %w", path, err)
		}
		if ast.IsGenerated(f) {
			return nil // the generator's habits, not ours
		}
		if strings.HasSuffix(path, "_test.go") {
			faults = append(faults, sleepFaults(files, f)...)
			return nil
		}
		faults = append(faults, declarationFaults(files, f)...)
		folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], f)
		return nil
	})
	for folder, parsed := range folders {
		if !slices.ContainsFunc(parsed, func(f *ast.File) bool { return f.Doc != nil }) {
			faults = append(faults, folder+": package has no doc comment")
		}
	}
	slices.Sort(faults)
	return faults, err
}

// walk calls visit for every file with that ending that belongs to the module:
// not what git ignores by habit, not test data, not a module of its own.
func walk(root, ending string, visit func(path string, text []byte) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && skipped(path, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ending {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(rel, text)
	})
}

func skipped(path, name string) bool {
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// declarationFaults finds init functions and exported names without a comment.
func declarationFaults(files *token.FileSet, f *ast.File) []string {
	var faults []string
	fault := func(at token.Pos, text string) {
		faults = append(faults, files.Position(at).String()+": "+text)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == "init" && d.Recv == nil {
				fault(d.Pos(), "init function: pass the value to what needs it")
			}
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil && !wellKnown(d) {
				fault(d.Pos(), "exported "+d.Name.Name+" is not documented")
			}
		case *ast.GenDecl:
			for _, name := range undocumented(d) {
				fault(name.Pos(), "exported "+name.Name+" is not documented")
			}
		}
	}
	return faults
}

// wellKnown is the methods whose name says it all to every Go reader.
func wellKnown(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "String", "Len", "Less", "Swap"}, d.Name.Name)
}

// exportedReceiver reports whether a function's documentation is ever shown: a
// method of an unexported type fulfils an interface that is documented elsewhere.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch u := t.(type) {
		case *ast.StarExpr:
			t = u.X
		case *ast.IndexExpr:
			t = u.X
		case *ast.IndexListExpr:
			t = u.X
		case *ast.Ident:
			return u.IsExported()
		default:
			return true
		}
	}
}

// undocumented is the exported names of a declaration that neither the group,
// nor their own line, nor a comment behind it explains.
func undocumented(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					names = append(names, n)
				}
			}
		}
	}
	return names
}

// sleepFaults finds time.Sleep: a test waits for a condition, because a time that
// is long enough here is too short on a busy machine.
func sleepFaults(files *token.FileSet, f *ast.File) []string {
	var faults []string
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "Sleep" {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" {
			faults = append(faults, files.Position(call.Pos()).String()+": time.Sleep in a test: wait for a condition")
		}
		return true
	})
	return faults
}
