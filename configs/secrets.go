package configs

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/slotferry/slotferry/importer/endpoint"
)

// maxPasswordBytes is the longest password that is read from a file.
const maxPasswordBytes = 64 << 10

// credentials completes those of an address. The password comes from a password
// file or the terminal, else from the address, else from the environment, else
// from the configuration file; the username from the address, else the
// environment, else the file. What is to be typed is asked for by ask.
func (v *values) credentials(side string, e *endpoint.Endpoint) {
	if e.Username == "" {
		e.Username = v.text(side + "-username")
	}
	if e.Password != "" {
		v.warnPasswordInAddress(side)
	}
	file, asked := v.passwordWay(side)
	switch {
	case file != "":
		e.Password = v.passwordFile(side, file)
		e.Rotating = rotating(file, e.Password)
	case asked || e.Password != "":
	default:
		e.Password = v.text(side + "-password")
		if e.Password != "" && v.origins[side+"-password"].rank == byFile {
			v.warnReadable(v.file, side+"_password is in it")
		}
	}
}

// passwordWay returns the password file, or that the password is typed. Of both
// the one from the stronger origin counts.
func (v *values) passwordWay(side string) (file string, asked bool) {
	file, asked = v.text(side+"-password-file"), v.boolean(side+"-askpass")
	if file == "" || !asked {
		return file, asked
	}
	fromFile, fromAsk := v.origins[side+"-password-file"], v.origins[side+"-askpass"]
	switch {
	case fromFile.rank > fromAsk.rank:
		return file, false
	case fromFile.rank < fromAsk.rank:
		return "", true
	}
	v.wrongAt(fromAsk.where, "%s is given as well; keep one of them", fromFile.where)
	return "", false
}

func (v *values) warnPasswordInAddress(side string) {
	advice := fmt.Sprintf("better use --%s-password-file, --%s-askpass or %s", side, side, variable(side+"-password"))
	from := v.origins[side]
	switch from.rank {
	case byFlag:
		v.warn("%s: every user of this machine can see the password in the list of processes (ps); %s", from.where, advice)
	case byFile:
		v.warn("%s: the address holds a password; %s", from.where, advice)
		v.warnReadable(v.file, "the address of the "+side+" in it holds a password")
	default:
		v.warn("%s: the address holds a password; %s", from.where, advice)
	}
}

// passwordFile reads a password. The errors do not show the path: it may be the
// password itself, given by mistake.
func (v *values) passwordFile(side, path string) string {
	name := side + "-password-file"
	if path == "-" {
		v.wrong(name, "a password is not read from standard input; use --%s-askpass, or write it to a file", side)
		return ""
	}
	password, err := readPassword(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		v.wrong(name, "there is no such file; it takes the path of a file that holds the password")
	case err != nil && withoutPath(err) == err:
		v.wrong(name, "the file has more than %d bytes; it should hold the password alone", maxPasswordBytes)
	case err != nil:
		v.wrong(name, "the file cannot be read: %v", withoutPath(err))
	default:
		if password == "" {
			v.wrong(name, "the file is empty; write the password into it")
		}
		v.warnReadable(path, "the password of the "+side+" is in it")
	}
	return password
}

// userinfo is what an address has between its scheme and its host, and more if
// that can't be told.
var userinfo = regexp.MustCompile(`(?s)://.*@`)

// Masked takes user and password out of an address that was given where
// something else belongs, and is quoted in an error.
func Masked(text string) string { return userinfo.ReplaceAllString(text, "://…@") }

func readPassword(path string) (string, error) {
	content, err := readLimited(path, maxPasswordBytes)
	// One line end is the editor's, everything else the password's.
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), err
}

// rotating lets a password be changed during the run: its file is read again for
// every connection. A pipe can be read once only.
func rotating(path, password string) *endpoint.Rotating {
	isFile := func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().IsRegular()
	}
	if !isFile() {
		return nil
	}
	return endpoint.NewRotating(password, func() (string, error) {
		if !isFile() {
			return "", os.ErrNotExist
		}
		return readPassword(path)
	})
}

// warnReadable warns when everybody can read a file with a secret.
func (v *values) warnReadable(path, why string) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 {
		return
	}
	v.warn("%s: every user of this machine can read it, and %s; chmod 600 it", path, why)
}

// ask asks for the passwords that are to be typed.
func (v *values) ask(s *Source, t *Target) {
	for _, one := range []struct {
		side string
		e    *endpoint.Endpoint
		live bool
	}{{"source", &s.Endpoint, s.Kind == KindRedis}, {"target", &t.Endpoint, true}} {
		if !one.live {
			continue
		}
		if _, asked := v.passwordWay(one.side); !asked {
			continue
		}
		password, err := v.env.Prompt(fmt.Sprintf("Password of the %s %s: ", one.side, one.e))
		switch {
		case err != nil:
			v.wrong(one.side+"-askpass", "%v; use --%s-password-file or %s", err, one.side, variable(one.side+"-password"))
		case password == "":
			v.wrong(one.side+"-askpass", "no password was typed")
		}
		one.e.Password = password
	}
}

var errNoTerminal = errors.New("there is no terminal to ask for the password on")

// askTerminal asks on the process's terminal, which standard input need not be.
func askTerminal(question string) (string, error) {
	path := "/dev/tty"
	if runtime.GOOS == "windows" {
		path = "CONIN$"
	}
	in, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", errNoTerminal
	}
	defer func() { _ = in.Close() }()
	if !term.IsTerminal(int(in.Fd())) {
		return "", errNoTerminal
	}
	fmt.Fprint(os.Stderr, question)
	password, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return "", fmt.Errorf("reading the password from the terminal: %w", err)
	}
	return string(password), nil
}
