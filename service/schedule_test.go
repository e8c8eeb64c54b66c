package service

import (
	"strings"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestScheduleNext(t *testing.T) {
	for _, tc := range []struct {
		name, text, zone, after string
		want                    []string
	}{
		{"daily", "0 3 * * *", "UTC", "2026-11-21T03:00:00Z", []string{"2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z"}},
		{"of another zone", "0 3 * * *", "Asia/Kolkata", "2026-11-21T00:00:00Z", []string{"2026-11-21T21:30:00Z"}},
		{"jumped over", "30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00+01:00", []string{"2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"}},
		{"jumped over, and once only", "0,30 2,3 * * *", "Europe/Berlin", "2027-03-28T00:00:00+01:00", []string{"2027-03-28T03:00:00+02:00", "2027-03-28T03:30:00+02:00", "2027-03-29T02:00:00+02:00"}},
		{"shown twice", "30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00+02:00", []string{"2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"}},
		{"from within the hour that is shown again", "30 2 * * *", "Europe/Berlin", "2027-10-31T02:15:00+01:00", []string{"2027-11-01T02:30:00+01:00"}},
		{"evenly over the jump", "*/30 * * * *", "Europe/Berlin", "2027-03-28T01:00:00+01:00", []string{"2027-03-28T01:30:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-28T03:30:00+02:00"}},
		{"evenly through the hour that is shown twice", "30 * * * *", "Europe/Berlin", "2027-10-31T01:30:00+02:00", []string{"2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00", "2027-10-31T03:30:00+01:00"}},
		{"a midnight that is not there", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"half an hour back", "45 1 * * *", "Australia/Lord_Howe", "2027-04-03T12:00:00+11:00", []string{"2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"}},
		{"either of the days", "0 0 1 * MON", "UTC", "2026-11-28T00:00:00Z", []string{"2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-07T00:00:00Z"}},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"a name", "@weekly", "UTC", "2026-11-21T00:00:00Z", []string{"2026-11-22T00:00:00Z"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := ParseSchedule(tc.text, zone(t, tc.zone))
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tc.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				at = s.Next(at)
				if got := at.Format(time.RFC3339); got != want {
					// The same instant is the same, however it is written.
					if w, _ := time.Parse(time.RFC3339, want); !w.Equal(at) {
						t.Errorf("got %s, want %s", got, want)
					}
				}
			}
		})
	}
}

func TestScheduleErrors(t *testing.T) {
	for _, tc := range []struct{ text, says string }{
		{"", "empty"},
		{"* * *", "3 of the five fields"},
		{"* * * * * *", "6 of the five fields"},
		{"0 61 * * *", "field 2 (hour) \"61\", at column 3"},
		{"0 0 a * *", "field 3 (day of the month) \"a\", at column 5"},
		{"*/0 * * * *", "field 1 (minute)"},
		{"0 0 * * MON-XYZ", "field 5 (day of the week)"},
		{"0 0 31 2 *", "never comes"},
		{"@every 5s", "not known"},
		{"@reboot", "not known"},
		{"TZ=UTC 0 3 * * *", "zone"},
		{"CRON_TZ=UTC 0 3 * * *", "zone"},
	} {
		if s, err := ParseSchedule(tc.text, time.UTC); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%q gives %v, %v", tc.text, s, err)
		}
	}
}

// FuzzSchedule lets any expression name times that grow, with none between two
// neighbours, at minutes that the clock of its zone shows or jumps over.
func FuzzSchedule(f *testing.F) {
	zones := []*time.Location{time.UTC, zone(f, "Europe/Berlin"), zone(f, "America/Sao_Paulo"), zone(f, "Australia/Lord_Howe")}
	for _, text := range []string{"0 3 * * *", "*/7 1-3 * * *", "@hourly", "30 2 29 2 *", "5-1 * * * *", "0 0 ? * 1#2", "0 0 L * *", "H H * * *"} {
		f.Add(text, int64(1_800_000_000), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, z uint8) {
		const year = 365 * 24 * 3600
		at := time.Unix(1_700_000_000+unix%(5*year), 0)
		s, err := ParseSchedule(text, zones[int(z)%len(zones)])
		if err != nil {
			return
		}
		first := s.Next(at)
		if first.IsZero() {
			return
		}
		if !first.After(at) {
			t.Fatalf("%q: %s does not follow %s", text, first, at)
		}
		if between := s.Next(first.Add(-time.Second)); !between.Equal(first) {
			t.Fatalf("%q: %s follows %s, but %s a second before it", text, first, at, between)
		}
		if last := s.latest(at, first); !last.Equal(first) {
			t.Fatalf("%q: the latest up to %s is %s", text, first, last)
		}
		if last := s.latest(at, first.Add(-time.Second)); !last.IsZero() {
			t.Fatalf("%q: %s is before the first, %s", text, last, first)
		}
	})
}

func TestDelay(t *testing.T) {
	s := &Schedule{Jitter: 5 * time.Minute}
	due := time.Unix(1_800_000_000, 0)
	seen := map[time.Duration]bool{}
	for i := range 100 {
		at := due.Add(time.Duration(i) * 24 * time.Hour)
		d := s.Delay("job", at)
		if d < 0 || d >= s.Jitter || d != s.Delay("job", at) {
			t.Errorf("the delay of %s is %s", at, d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 times have %d different delays", len(seen))
	}
	if (&Schedule{}).Delay("job", due) != 0 {
		t.Error("a delay without jitter")
	}
}
