// The words of the menu's search are compared in small letters.
cockpit.locale({
  "": { "plural-forms": n => n != 1, "language": "de", "language-direction": "ltr" },
  "batch": [null, "stapelverarbeitung"],
  "job queue": [null, "auftragswarteschlange"],
  "jobs": [null, "aufträge"],
  "locks": [null, "sperren"],
  "queue": [null, "warteschlange"],
  "schedule": [null, "zeitplan"],
  "timer": [null, "zeitgeber"],
});
