// Before the first paint: the theme that was chosen, so that no white page flashes at night.
try {
  const { theme } = JSON.parse(localStorage.getItem('tickertape/1/settings') ?? '{}');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // No storage: as the system has it.
}
