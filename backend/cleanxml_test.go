package backend

import (
	"encoding/xml"
	"testing"
)

func TestCleanXMLKeepsWhatAParserReads(t *testing.T) {
	const hostile = "<t>a\u009b31m \u202eb\u2066 c\u200bd e\x7f</t>"
	clean := CleanXML(hostile)
	if CleanLines(clean) != clean {
		t.Errorf("CleanXML(%q) = %q, which is not clean", hostile, clean)
	}
	var before, after string
	if err := xml.Unmarshal([]byte(hostile), &before); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal([]byte(clean), &after); err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("a parser reads %q after CleanXML, %q before", after, before)
	}
}

func TestCleanXMLReplacesWhatXMLForbids(t *testing.T) {
	if got, want := CleanXML("<t>\x1b[2J\xff\n\tx</t>"), "<t>�[2J�\n\tx</t>"; got != want {
		t.Errorf("CleanXML = %q, want %q", got, want)
	}
}
