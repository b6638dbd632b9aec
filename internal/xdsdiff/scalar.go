// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// quote is a string as JSON, with < and > as they are.
func quote(s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	// A string always encodes.
	_ = e.Encode(s)
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}

// scalarText is the one form of a field's value that protobuf's JSON may spell in
// several ways. What does not fit the field's type stays as it is.
func scalarText(fd protoreflect.FieldDescriptor, v value) []byte {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return quoteOf(v)
	case protoreflect.BytesKind:
		return bytesText(v)
	case protoreflect.EnumKind:
		return enumText(fd.Enum(), v)
	case protoreflect.FloatKind:
		return floatText(v, 32)
	case protoreflect.DoubleKind:
		return floatText(v, 64)
	case protoreflect.BoolKind:
		return v.raw()
	default:
		return integerText(v)
	}
}

// quoteOf is a string with no more escapes than it needs.
func quoteOf(v value) []byte {
	if v.kind() == stringNode && v.node().escaped {
		return quote(v.string())
	}
	return v.raw()
}

// integerText writes 1, "1", 1.0 and 1e0 as 1.
func integerText(v value) []byte {
	if v.kind() != numberNode && v.kind() != stringNode {
		return v.raw()
	}
	s := v.string()
	if isInteger(s) {
		return []byte(withoutZeros(s))
	}
	// Exponents that no integer of 64 bits has would only cost time.
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) > 1<<64 || !json.Valid([]byte(s)) {
		return v.raw()
	}
	if exact, ok := new(big.Rat).SetString(s); ok && exact.IsInt() {
		return []byte(exact.Num().String())
	}
	return v.raw()
}

func isInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return digits != ""
}

func withoutZeros(s string) string {
	digits, negative := strings.CutPrefix(s, "-")
	digits = strings.TrimLeft(digits, "0")
	switch {
	case digits == "":
		return "0"
	case negative:
		return "-" + digits
	}
	return digits
}

func floatText(v value, bits int) []byte {
	if v.kind() != numberNode && v.kind() != stringNode {
		return v.raw()
	}
	f, err := strconv.ParseFloat(v.string(), bits)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return quote(v.string())
	}
	return strconv.AppendFloat(nil, f+0, 'g', -1, bits)
}

func bytesText(v value) []byte {
	if v.kind() != stringNode {
		return v.raw()
	}
	s := strings.NewReplacer("-", "+", "_", "/").Replace(v.string())
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return quoteOf(v)
	}
	return quote(base64.StdEncoding.EncodeToString(decoded))
}

func enumText(enum protoreflect.EnumDescriptor, v value) []byte {
	number, err := strconv.ParseInt(v.string(), 10, 32)
	if v.kind() != numberNode || err != nil {
		if known := enum.Values().ByName(protoreflect.Name(v.string())); known != nil {
			number = int64(known.Number())
		} else {
			return quoteOf(v)
		}
	}
	if known := enum.Values().ByNumber(protoreflect.EnumNumber(number)); known != nil {
		return quote(string(known.Name()))
	}
	return strconv.AppendInt(nil, number, 10)
}

// zero reports whether a field's text is that of the value it has when nobody
// sets it.
func zero(fd protoreflect.FieldDescriptor, text []byte) bool {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return string(text) == `""`
	case protoreflect.BoolKind:
		return string(text) == "false"
	case protoreflect.EnumKind:
		first := fd.Enum().Values().ByNumber(0)
		return first != nil && bytes.Equal(text, quote(string(first.Name())))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return false
	}
	return string(text) == "0"
}

// durationText writes "2s", "2.0s" and "2.000s" as "2s".
func durationText(v value) []byte {
	number, ok := strings.CutSuffix(v.string(), "s")
	whole, fraction, _ := strings.Cut(number, ".")
	if v.kind() != stringNode || !ok || !isInteger(whole) || (fraction != "" && !isInteger("1"+fraction)) {
		return quoteOf(v)
	}
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	whole, fraction = withoutZeros(whole), strings.TrimRight(fraction, "0")
	if fraction != "" {
		whole += "." + fraction
	}
	if whole == "0" {
		sign = ""
	}
	return quote(sign + whole + "s")
}

func timestampText(v value) []byte {
	t, err := time.Parse(time.RFC3339Nano, v.string())
	if v.kind() != stringNode || err != nil {
		return quoteOf(v)
	}
	return quote(t.UTC().Format(time.RFC3339Nano))
}

// looseText is a value of which nobody knows the type: it may be any number, or
// an integer that stands as a string because it has 64 bits.
func looseText(v value, asData bool) []byte {
	switch {
	case v.kind() == stringNode && !asData && isInteger(v.string()) && len(v.string()) < 21:
		return integerText(v)
	case v.kind() == stringNode:
		return quoteOf(v)
	case v.kind() != numberNode:
		return v.raw()
	}
	whole := integerText(v)
	if isInteger(string(whole)) {
		return whole
	}
	return floatText(v, 64)
}
