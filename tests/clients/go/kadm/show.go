package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// show writes a result as lines of `path: value`, in an order that does not depend on the broker's:
// maps by key, and lists by whatever names their elements.
func show(result any, err error) []string {
	lines := []string{}
	if err != nil {
		lines = append(lines, fmt.Sprintf("error: %v", err))
	}
	if result != nil {
		write("", reflect.ValueOf(result), &lines)
	}
	return lines
}

func write(path string, value reflect.Value, lines *[]string) {
	line := func(text any) { *lines = append(*lines, fmt.Sprintf("%s: %v", path, text)) }
	switch plain := asInterface(value).(type) {
	case error:
		line(plain)
		return
	case kadm.TopicID:
		line(base64.RawURLEncoding.EncodeToString(plain[:]))
		return
	case []byte:
		line(fmt.Sprintf("%q", plain))
		return
	case time.Duration, time.Time:
		line(plain)
		return
	}
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			line("null")
		} else {
			write(path, value.Elem(), lines)
		}
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(value.Type()) {
			if field.IsExported() && !field.Anonymous {
				write(path+"."+field.Name, value.FieldByIndex(field.Index), lines)
			}
		}
	case reflect.Map:
		writeSorted(path, value, lines)
	case reflect.Slice, reflect.Array:
		for index := range value.Len() {
			element := value.Index(index)
			write(fmt.Sprintf("%s[%s]", path, nameOf(element, index)), element, lines)
		}
	default:
		line(value)
	}
}

func asInterface(value reflect.Value) any {
	if !value.IsValid() || !value.CanInterface() {
		return nil
	}
	// A nil pointer may be of a type that is an error.
	if value.Kind() == reflect.Pointer && value.IsNil() {
		return nil
	}
	return value.Interface()
}

func writeSorted(path string, value reflect.Value, lines *[]string) {
	keys := value.MapKeys()
	slices.SortFunc(keys, func(one, other reflect.Value) int {
		if one.CanInt() {
			return cmp.Compare(one.Int(), other.Int())
		}
		return cmp.Compare(fmt.Sprint(one), fmt.Sprint(other))
	})
	for _, key := range keys {
		name := fmt.Sprint(key)
		if id, is := asInterface(key).(kadm.TopicID); is {
			name = base64.RawURLEncoding.EncodeToString(id[:])
		}
		write(fmt.Sprintf("%s[%s]", path, name), value.MapIndex(key), lines)
	}
}

// nameOf is what an element of a list is called by; what has no name goes by its place.
func nameOf(element reflect.Value, index int) string {
	if element.Kind() == reflect.Struct {
		if entity := element.FieldByName("Entity"); entity.IsValid() {
			return fmt.Sprint(entity.Interface())
		}
		for _, name := range []string{"Key", "Name", "Topic"} {
			if field := element.FieldByName(name); field.IsValid() && field.Kind() == reflect.String {
				return field.String()
			}
		}
	}
	return fmt.Sprint(index)
}
