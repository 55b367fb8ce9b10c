// Prints what Go's text/template makes of each line of templates.txt, as JSON: the table that kiln's own templates
// are held against. The functions are those that docker adds, and `\t` and `\n` in a template are what docker's
// command line takes them for.
//
//	go run main.go < templates.txt > answers.json
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type Port struct {
	Number int
	Proto  string
}

type Image struct {
	ID      string
	Size    int
	Share   float64
	Named   bool
	Tags    []string
	Empty   []string
	Labels  map[string]string
	Ports   []Port
	Config  Config
	Missing any
	Counts  []int
	Odd     string
}

type Config struct {
	User string
	Env  []string
}

var data = Image{
	ID:     "sha256:0123456789abcdef",
	Size:   1234567,
	Share:  0.25,
	Named:  true,
	Tags:   []string{"app:1", "app:latest"},
	Empty:  []string{},
	Labels: map[string]string{"maintainer": "Ada <ada@example.com>", "empty": ""},
	Ports:  []Port{{80, "tcp"}, {53, "udp"}},
	Config: Config{User: "root", Env: []string{"A=1", "B=2"}},
	Counts: []int{3, 1, 2},
	Odd:    "größe \"x\"\t漢",
}

var functions = template.FuncMap{
	"json": func(v any) string {
		out := &bytes.Buffer{}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(v)
		return strings.TrimSpace(out.String())
	},
	"split": strings.Split,
	"join":  strings.Join,
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(source string, prefix, suffix int) string {
		if source == "" {
			return source
		}
		return strings.Repeat(" ", prefix) + source + strings.Repeat(" ", suffix)
	},
	"truncate": func(source string, length int) string {
		if len(source) < length {
			return source
		}
		return source[:length]
	},
}

type Answer struct {
	Template string  `json:"template"`
	Printed  *string `json:"printed"`
}

func answer(text string) *string {
	escapes := strings.NewReplacer(`\t`, "\t", `\n`, "\n")
	parsed, err := template.New("").Funcs(functions).Parse(escapes.Replace(text))
	if err != nil {
		return nil
	}
	out := &strings.Builder{}
	if err := parsed.Execute(out, data); err != nil {
		return nil
	}
	printed := out.String()
	return &printed
}

func main() {
	answers := []Answer{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answers = append(answers, Answer{lines.Text(), answer(lines.Text())})
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	_ = encoder.Encode(answers)
}
